// Exchanges of a group that is a cluster: every block writes into the shared memory of all, and
// counts the bytes at a barrier of theirs.
//
// Two buffers take turns, and that is safe: a tile sends exchange e + 1 only after all of exchange e
// has come to it, which every tile of the group sent after all its warps had multiplied exchange
// e - 1. So nobody reads the buffer of e - 1 any more when e + 1 is written into it. Where not all
// tiles send in every exchange (SEVERAL), a barrier of the block after the products makes those that
// send wait for those that do not. A barrier is armed for e + 2 by whoever has waited for e.

struct Cluster : Gathering {
  char* buffers;
  u32 barriers;     // for each buffer those of the parts, then that of the totals
  u32 parities = 0;  // of the phases that this warp waits for next, a bit for each of its barriers
  Watch watch;
  DEVICE Cluster(char* memory, const Arguments& a) : watch{(int*)a.status} {
    barriers = shared_address(memory);
    buffers = memory + HEAD;
  }
  DEVICE u32 barrier(int exchange, int part) const {
    return barriers + 8 * ((exchange & 1) * (WARPS + 1) + part);
  }
  DEVICE static int number(int index, int step) { return step * EXCHANGES + index; }
  DEVICE char* buffer(int exchange) const { return buffers + (exchange & 1) * BUFFER; }

  DEVICE void open(const Thread& at) {
    for (int k = threadIdx.x; k < 2 * BUFFER / 4; k += THREADS) ((u32*)buffers)[k] = 0;
    if (threadIdx.x < 2 * (WARPS + 1)) barrier_init(barriers + 8 * threadIdx.x);
    sync_block();
    if (threadIdx.x < 2 * (WARPS + 1)) {
      const int buffer = threadIdx.x / (WARPS + 1);
      arm(at, buffer, buffer % EXCHANGES, threadIdx.x % (WARPS + 1));
    }
    barrier_fence();
    sync_block();
    sync_cluster();
  }
  DEVICE void close() { sync_cluster(); }  // nobody writes to a block that has ended
  // A barrier of which nothing is expected has no phase: it would end at once, and the next one too,
  // before all had seen it.
  DEVICE void arm(const Thread& at, int buffer, int index, int part) {
    const u32 bytes = expected(index, part, at.count);
    if (bytes) ::arm(barrier(buffer, part), bytes, watch);
  }
  template <class X>
  DEVICE void wait_for(const Thread& at, int step, int part, bool arms) {
    const int e = number(X::index, step);
    const u32 bit = 1u << ((e & 1) + (part == WARPS ? 2 : 0));
    if (expected(X::index, part, at.count)) {
      wait(barrier(e, part), (parities & bit) != 0, watch);
      parities ^= bit;
    }
    if (arms) arm(at, e, (X::index + 2) % EXCHANGES, part);  // for exchange e + 2
    sync_warp();
  }
  template <class X>
  DEVICE void receive(const Thread& at, int step) {
    wait_for<X>(at, step, at.part, at.tile == 0 && at.lane == 0);
  }
  template <class X>
  DEVICE void receive_totals(const Thread& at, int step) {
    wait_for<X>(at, step, WARPS, threadIdx.x == 0);
  }
  template <class X, class W>
  DEVICE void multiply(float* parts, const Thread& at, const Weights& weights, int step) {
    W::template multiply<X>(parts, at, *this, weights, step);
  }
  template <class X, class O>
  DEVICE void fetch(uint4 (&b)[FLIGHT][OCTETS], int from, const Thread& at, int step) {
    const char* row = buffer(number(X::index, step)) + lane_at(at.lane) +
                      (O::at + at.part * O::share + from) * CHUNK;
#pragma unroll
    for (int k = 0; k < FLIGHT; ++k)
#pragma unroll
      for (int n = 0; n < OCTETS; ++n)
        if (from + k < O::share) b[k][n] = *(const uint4*)(row + n * X::octet + k * CHUNK);
  }
  template <class X, class O>
  DEVICE void send_row(const Thread& at, int n, int step, el v) const {
    const int e = number(X::index, step), part = O::Units::tile(at) / (O::share * CHUNK_TILES);
    const uint4 c = packed(v, at.lane);
    if (!O::Units::works(at) || n >= at.count) return;
    const u32 to = shared_address(buffer(e) + packet_at<X, O>(at, n)), bar = barrier(e, part);
#pragma unroll
    for (int first = 0; first < BLOCKS; first += WIDTH) {  // each lane to a block of its own
      const int rank = first + (at.lane & (WIDTH - 1));
      if (BLOCKS % WIDTH == 0 || rank < BLOCKS)
        send(in_block(to, rank), c.x, c.y, c.z, c.w, in_block(bar, rank));
    }
  }
  template <class X, class S>
  DEVICE void send_totals(const Thread& at, int n, int step, const float* sums) const {
    const int e = number(X::index, step), rank = at.lane & 15;
    if (rank >= BLOCKS || n >= at.count) return;
    const char* place = buffer(e) + OCTETS * X::octet + 16 * S::packet(S::Units::tile(at), n);
    const u32 to = in_block(shared_address(place), rank), bar = in_block(barrier(e, WARPS), rank);
#pragma unroll
    for (int k = 0; k < S::each; ++k)
      send(to + 16 * k, __float_as_uint(sums[4 * k]), __float_as_uint(sums[4 * k + 1]),
           __float_as_uint(sums[4 * k + 2]), __float_as_uint(sums[4 * k + 3]), bar);
  }
  template <class X, class S>
  DEVICE void fetch_totals(float* sums, const Thread&, int tile, int n, int step) {
    const char* place = buffer(number(X::index, step)) + OCTETS * X::octet;
#pragma unroll
    for (int k = 0; k < S::each; ++k)
      *(float4*)(sums + 4 * k) = *(const float4*)(place + 16 * (S::packet(tile, n) + k));
  }
};
using Paths = Cluster;
