// Fragments of weights, their products with operands, and the sums of the parts.

// The fragments of a warp: the first in registers, the others in shared memory.
struct Weights {
  u32 kept[KEPT][4];
  uint4* rest;
  DEVICE Weights(uint4* memory, const Thread& at)
      : rest(memory + at.warp() * (FRAGMENTS - KEPT) * 32 + at.lane) {}
  DEVICE void put(int f, u32 a, u32 b, u32 c, u32 d) {
    if (f < KEPT)
      kept[f][0] = a, kept[f][1] = b, kept[f][2] = c, kept[f][3] = d;
    else
      rest[(f - KEPT) * 32] = make_uint4(a, b, c, d);
  }
  DEVICE void get(int f, u32* a) const {
    if (f < KEPT) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = kept[f][i];
    } else {
      const uint4 v = rest[(f - KEPT) * 32];
      a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
    }
  }
};

// A matrix in a stacked parameter: its numbers of a unit that it gives and those of WIDTH units that
// it multiplies, zeros past both. PITCH is that of the parameter's rows.
template <class TO, class FROM, int PITCH, bool TRANSPOSED>
DEVICE uint4 numbers(const el* matrix, int to, int from) {
  uint4 found = make_uint4(0, 0, 0, 0);
  if (to >= TO::units) return found;
  const el* row = TRANSPOSED ? matrix + (i64)from * PITCH + to : matrix + (i64)to * PITCH + from;
  const bool whole = !TRANSPOSED && PITCH % WIDTH == 0 && ((u64)matrix & 15) == 0;
  if (whole && from + WIDTH <= FROM::units) return *(const uint4*)row;
  u32 word[4] = {};
#pragma unroll
  for (int i = 0; i < WIDTH; ++i)
    if (from + i < FROM::units)
      word[i * sizeof(el) / 4] |= bits(row[i * (TRANSPOSED ? PITCH : 1)])
                                  << (8 * sizeof(el) * i % 32);
  return make_uint4(word[0], word[1], word[2], word[3]);
}

// Keep a matrix's fragments: those of sum SLOT of the SLOTS that the operand is multiplied for.
template <class TO, class O, int FIRST, int SLOT, int SLOTS, int PITCH, bool TRANSPOSED>
DEVICE void hold(Weights& weights, const el* matrix, const Thread& at) {
  if (!TO::works(at)) return;
  const int to = TO::tile(at) * 16 + (at.lane >> 2);
#pragma unroll
  for (int k = 0; k < O::share; ++k) {
    const int chunk = at.part * O::share + k;
    const int from = chunk * CHUNK_TILES * 16 + (at.lane & 3) * WIDTH;
    const uint4 x = numbers<TO, typename O::Units, PITCH, TRANSPOSED>(matrix, to, from);
    const uint4 y = numbers<TO, typename O::Units, PITCH, TRANSPOSED>(matrix, to + 8, from);
    weights.put(FIRST + 2 * k * SLOTS + SLOT, x.x, y.x, x.y, y.y);
    weights.put(FIRST + (2 * k + 1) * SLOTS + SLOT, x.z, y.z, x.w, y.w);
  }
}

// An operand, and the sums for which it is multiplied, whose fragments begin at FIRST.
template <class O, int FIRST, int... SUM>
struct Use {
  static constexpr int steps = 2 * O::share;
  template <class X, int CHAINS, int COUNT>
  DEVICE static void multiply(float (&sums)[CHAINS * COUNT][OCTETS][4], const Thread& at,
                              Paths& paths, const Weights& weights, int step) {
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
  template <class X>
  DEVICE static void multiply(float* parts, const Thread& at, Paths& paths, const Weights& weights,
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
        float* to = parts + ((at.part * SUMS + BASE + g) * OCTETS + n) * TILE_SUMS +
                    (at.lane >> 2) * 20 + (at.lane & 3) * 4;
        *(float4*)to = make_float4(sums[g][n][0], sums[g][n][1], sums[g][n][2], sums[g][n][3]);
      }
  }
};

template <class... W>
struct Works {
  static constexpr int sums = (W::count + ... + 0);
  template <class X>
  DEVICE static void multiply(float* parts, const Thread& at, Paths& paths, const Weights& weights,
                              int step) {
    (W::template multiply<X>(parts, at, paths, weights, step), ...);
  }
};

// The sum over the parts for a thread's unit and a sequence.
DEVICE float summed(const float* parts, int g, int n, int lane) {
  const float* from = parts + (g * OCTETS + (n >> 3)) * TILE_SUMS + (lane & 7) * 20 +
                      ((n & 7) >> 1) * 4 + (lane >> 3 & 1) * 2 + (n & 1);
  float sum = from[0];
#pragma unroll
  for (int part = 1; part < WARPS; ++part) sum += from[part * SUMS * OCTETS * TILE_SUMS];
  return sum;
}
