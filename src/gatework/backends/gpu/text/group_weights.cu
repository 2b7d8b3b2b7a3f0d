// Fragments of weights.

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

// Keep the fragments of a tile: the slot of SLOTS that an operand is multiplied for. The
// numbers of its chunks begin at `from`, those that the operand has end at `end`.
template <class TO, class O, int FIRST, int SLOTS, int PITCH, bool TRANSPOSED>
DEVICE void hold_tile(Weights& weights, const el* matrix, int slot, int tile, int from, int end,
                      int lane) {
  const int to = tile * 16 + (lane >> 2);
#pragma unroll
  for (int k = 0; k < O::share; ++k) {
    const int unit = from + k * CHUNK_TILES * 16 + (lane & 3) * WIDTH;
    uint4 x = make_uint4(0, 0, 0, 0), y = x;
    if (unit < end) {
      x = numbers<TO, typename O::Units, PITCH, TRANSPOSED>(matrix, to, unit);
      y = numbers<TO, typename O::Units, PITCH, TRANSPOSED>(matrix, to + 8, unit);
    }
    weights.put(FIRST + 2 * k * SLOTS + slot, x.x, y.x, x.y, y.y);
    weights.put(FIRST + (2 * k + 1) * SLOTS + slot, x.z, y.z, x.w, y.w);
  }
}
