// Exchanges of partial sums in a cluster: a block multiplies its own units' operands for the tiles of
// all units, and sends each block the sums of its tiles, which adds those of all blocks. For plans
// with one sum of products: the sums are fewer numbers than the operands.
//
// Two buffers take turns, of operands and of sums. A block sends the sums of exchange e + 1 after it
// has those of e from all blocks. A block sends those of e after a barrier of all its threads, which
// had read the sums of e - 1 by then: so nobody reads what e + 1 overwrites. Operands are written
// between two such barriers, into the buffer that was multiplied before the earlier one.

constexpr int COLUMNS = BLOCKS / WARPS;  // tiles of all units for which a warp multiplies

template <class TO, class O, int FIRST, int SLOT, int SLOTS, int PITCH, bool TRANSPOSED>
DEVICE void hold(Weights& weights, const el* matrix, const Thread& at) {
  const int from = at.rank * O::Units::wide * 16;
  const int end = min(O::Units::units, from + O::Units::wide * 16);
#pragma unroll
  for (int c = 0; c < COLUMNS; ++c)
    hold_tile<TO, O, FIRST, COLUMNS, PITCH, TRANSPOSED>(
        weights, matrix, c, at.warp() * COLUMNS + c, from, end, at.lane);
}

// An operand, whose fragments begin at FIRST: there is one sum.
template <class O, int FIRST, int... SUM>
struct Use {
  DEVICE static void multiply(float (&sums)[COLUMNS][OCTETS][4], const char* rows, int octet,
                              const Weights& weights, int lane) {
#pragma unroll
    for (int k = 0; k < O::share; ++k) {
      uint4 b[OCTETS];
#pragma unroll
      for (int n = 0; n < OCTETS; ++n)
        b[n] = *(const uint4*)(rows + n * octet + (O::at + k) * CHUNK + lane_at(lane));
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c) {
          u32 a[4];
          weights.get(FIRST + (2 * k + half) * COLUMNS + c, a);
#pragma unroll
          for (int n = 0; n < OCTETS; ++n)
            mma(sums[c][n], a, half ? b[n].z : b[n].x, half ? b[n].w : b[n].y);
        }
    }
  }
};

template <class S, int BASE, int COUNT, class... USES>
struct Work {
  static constexpr int count = COUNT, wide = S::wide;
  DEVICE static void multiply(float (&sums)[COLUMNS][OCTETS][4], const char* rows, int octet,
                              const Weights& weights, int lane) {
    (USES::multiply(sums, rows, octet, weights, lane), ...);
  }
};

template <class... W>
struct Works {
  static constexpr int sums = (W::count + ... + 0);
  DEVICE static void multiply(float (&sums)[COLUMNS][OCTETS][4], const char* rows, int octet,
                              const Weights& weights, int lane) {
    (W::multiply(sums, rows, octet, weights, lane), ...);
  }
};

struct Scatter {
  static constexpr int slot = TILES * OCTETS * TILE_SUMS;  // floats of a block's sums for another
  char* operands;
  u32 barriers;
  Watch watch;
  DEVICE Scatter(char* memory, const Arguments& a)
      : operands(memory + HEAD), barriers(shared_address(memory)), watch{(int*)a.status} {}
  DEVICE u32 barrier(int exchange) const { return barriers + 8 * (exchange & 1); }
  DEVICE char* rows(int exchange) const { return operands + (exchange & 1) * BUFFER; }
  DEVICE void arm(const Thread& at, int exchange) {
    const int pairs = min(4 * OCTETS, (at.count + 1) / 2);  // of sequences, as lanes have them
    ::arm(barrier(exchange), BLOCKS * TILES * 8 * 16 * pairs, watch);
  }
  DEVICE void open(const Thread& at) {
    for (int k = threadIdx.x; k < 2 * BUFFER / 4; k += THREADS) ((u32*)operands)[k] = 0;
    if (threadIdx.x < 2) {
      barrier_init(barrier(threadIdx.x));
      barrier_fence();
      arm(at, threadIdx.x);
    }
    sync_block();
    sync_cluster();
  }
  DEVICE void close() { sync_cluster(); }  // nobody writes to a block that has ended

  template <class X>
  DEVICE void receive(const Thread& at, int step) {
    wait(barrier(step), step >> 1 & 1, watch);
    if (threadIdx.x == 0) arm(at, step + 2);
  }
  DEVICE static void meet(const Thread&) {}
  template <class X> DEVICE void receive_totals(const Thread&, int) {}
  template <class X, class W>
  DEVICE void multiply(float*, const Thread&, const Weights&, int) {}  // was done before sending
  DEVICE static float* parts(float* sums, const Thread& at, int exchange) {
    return sums + (exchange & 1) * BLOCKS * slot + at.tile * OCTETS * TILE_SUMS;
  }
  DEVICE static float summed(const float* parts, int, int n, const Thread& at) {
    if (n >= at.count) return 0.f;  // of which nothing was sent
    const float* from = parts + (n >> 3) * TILE_SUMS + sum_at(n, at.lane);
    float even = 0.f, odd = 0.f;
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) (block & 1 ? odd : even) += from[block * slot];
    return even + odd;
  }
  template <class X, class O>
  DEVICE void send_row(const Thread& at, int n, int step, el v) const {
    if (n >= at.count) return;
    char* row = rows(step) + (n >> 3) * X::octet + O::at * CHUNK;
    ((el*)row)[op_at(n & 7, at.tile * 16 + (at.lane & 15))] = v;
  }
  template <class X, class W>
  DEVICE void scatter(float* sums, const Thread& at, const Weights& weights, int step) {
    sync_block();
    float partial[COLUMNS][OCTETS][4] = {};
    W::multiply(partial, rows(step), X::octet, weights, at.lane);
    const u32 bar = barrier(step);
    float* own = sums + ((step & 1) * BLOCKS + at.rank) * slot + fragment_at(at.lane);
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c) {
      const int tile = at.warp() * COLUMNS + c, rank = tile / TILES;
      const u32 to = in_block(shared_address(own + tile % TILES * OCTETS * TILE_SUMS), rank);
#pragma unroll
      for (int n = 0; n < OCTETS; ++n)
        if (n * 8 + 2 * (at.lane & 3) < at.count)
          send(to + n * TILE_SUMS * 4, __float_as_uint(partial[c][n][0]),
               __float_as_uint(partial[c][n][1]), __float_as_uint(partial[c][n][2]),
               __float_as_uint(partial[c][n][3]), in_block(bar, rank));
    }
  }
};
using Paths = Scatter;
