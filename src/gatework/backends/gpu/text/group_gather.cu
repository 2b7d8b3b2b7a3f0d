// Products where every block has the operands of all units: a warp multiplies its part of them for
// the tile of its block, and the parts are summed through shared memory.

template <class TO, class O, int FIRST, int SLOT, int SLOTS, int PITCH, bool TRANSPOSED>
DEVICE void hold(Weights& weights, const el* matrix, const Thread& at) {
  const int from = at.part * O::share * CHUNK_TILES * 16;
  if (TO::works(at))
    hold_tile<TO, O, FIRST, SLOTS, PITCH, TRANSPOSED>(weights, matrix, SLOT, TO::tile(at), from,
                                                      O::Units::units, at.lane);
}

// An operand, and the sums for which it is multiplied, whose fragments begin at FIRST.
template <class O, int FIRST, int... SUM>
struct Use {
  static constexpr int steps = 2 * O::share;
  template <class X, int CHAINS, int COUNT, class P>
  DEVICE static void multiply(float (&sums)[CHAINS * COUNT][OCTETS][4], const Thread& at, P& paths,
                              const Weights& weights, int step) {
#pragma unroll
    for (int from = 0; from < O::share; from += FLIGHT) {
      uint4 b[FLIGHT][OCTETS];
      paths.template fetch<X, O>(b, from, at, step);
#pragma unroll
      for (int k = 0; k < FLIGHT; ++k)
        if (from + k < O::share) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int s = 2 * (from + k) + half;
            int f = FIRST + s * (int)sizeof...(SUM);
            (add(sums[s % CHAINS * COUNT + SUM], weights, f++, b[k], half), ...);
          }
        }
    }
  }
  DEVICE static void add(float (&sum)[OCTETS][4], const Weights& weights, int f,
                         const uint4 (&b)[OCTETS], int half) {
    u32 a[4];
    weights.get(f, a);
#pragma unroll
    for (int n = 0; n < OCTETS; ++n)
      mma(sum[n], a, half ? b[n].z : b[n].x, half ? b[n].w : b[n].y);
  }
};

// The sums of a stage for one size, from BASE on among all of the stage.
template <class S, int BASE, int COUNT, class... USES>
struct Work {
  static constexpr int count = COUNT;
  static constexpr int steps = (USES::steps + ... + 0);
  static constexpr int chains = COUNT > 1 ? 1 : steps < 4 ? steps : 4;  // products that overlap
  template <class X, class P>
  DEVICE static void multiply(float* parts, const Thread& at, P& paths, const Weights& weights,
                              int step) {
    if (!S::works(at)) return;
    float sums[chains * COUNT][OCTETS][4] = {};
    (USES::template multiply<X, chains, COUNT>(sums, at, paths, weights, step), ...);
#pragma unroll
    for (int g = 0; g < COUNT; ++g)
#pragma unroll
      for (int n = 0; n < OCTETS; ++n) {
#pragma unroll
        for (int c = 1; c < chains; ++c)
#pragma unroll
          for (int i = 0; i < 4; ++i) sums[g][n][i] += sums[c * COUNT + g][n][i];
        float* to = parts + ((at.part * SUMS + BASE + g) * OCTETS + n) * TILE_SUMS;
        *(float4*)(to + fragment_at(at.lane)) =
            make_float4(sums[g][n][0], sums[g][n][1], sums[g][n][2], sums[g][n][3]);
      }
  }
};

template <class... W>
struct Works {
  static constexpr int sums = (W::count + ... + 0);
  template <class X, class P>
  DEVICE static void multiply(float* parts, const Thread& at, P& paths, const Weights& weights,
                              int step) {
    (W::template multiply<X>(parts, at, paths, weights, step), ...);
  }
};

// The sums of the parts in shared memory: two buffers take turns, so that a tile's warps meet once.
struct Gathering {
  DEVICE static void meet(const Thread& at) { SEVERAL ? sync_block() : sync_tile(at); }
  template <class X, class W>
  DEVICE static void scatter(float*, const Thread&, const Weights&, int) {}  // was sent before
  DEVICE static float* parts(float* sums, const Thread& at, int exchange) {
    return sums + ((exchange & 1) * TILES + at.tile) * WARPS * SUMS * OCTETS * TILE_SUMS;
  }
  DEVICE static float summed(const float* parts, int g, int n, const Thread& at) {
    const float* from = parts + (g * OCTETS + (n >> 3)) * TILE_SUMS + sum_at(n, at.lane);
    float sum = from[0];
#pragma unroll
    for (int part = 1; part < WARPS; ++part) sum += from[part * SUMS * OCTETS * TILE_SUMS];
    return sum;
  }
};
