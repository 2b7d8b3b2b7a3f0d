// Functions of the language, waits that end, and where the numbers of an operand lie. Stands after
// primitives.cu. The generator defines EXACT: whether products of floats are as exact as floats.

// ---- elements -----------------------------------------------------------------------------------

#if HALF || BFLOAT
constexpr bool FAST = true;  // the element is coarser than what fast functions give
DEVICE u32 bits(el v) { return v; }
#else
constexpr bool FAST = false;
DEVICE u32 bits(el v) { return __float_as_uint(v); }
#endif

DEVICE float load(const el* p) { return to_float(*p); }
DEVICE void store(el* p, float v) { *p = to_el(v); }

// A word that holds no number yet. It is a NaN that nothing but `kept_apart` can prevent in floats,
// where a NaN may be copied from an input; in 16 bits no conversion makes it.
constexpr u32 EMPTY = 0xffffffffu;
DEVICE bool any_empty(uint4 v) {
  return v.x == EMPTY || v.y == EMPTY || v.z == EMPTY || v.w == EMPTY;
}
DEVICE float kept_apart(float v) { return v != v ? __uint_as_float(0x7fffffffu) : v; }

// ---- products of fragments ----------------------------------------------------------------------

DEVICE u32 high_part(u32 v) { return v & 0xffffe000u; }  // what tf32 sees of a float
DEVICE u32 low_part(u32 v) {
  return __float_as_uint(__uint_as_float(v) - __uint_as_float(high_part(v)));
}

// d += a b for a fragment of 64 bytes of the sum: 16 halves or 8 floats. Three products of parts
// are as exact as floats.
DEVICE void mma(float* d, const u32* a, u32 b0, u32 b1) {
#if HALF || BFLOAT
  mma_k16(d, a, b0, b1);
#else
  if (EXACT) {
    const u32 low[4] = {low_part(a[0]), low_part(a[1]), low_part(a[2]), low_part(a[3])};
    mma_k8(d, low, b0, b1);
    mma_k8(d, a, low_part(b0), low_part(b1));
  }
  mma_k8(d, a, b0, b1);
#endif
}

// Where element k of sequence n of 8 sequences lies in an operand: [k / 16][8][16].
DEVICE int op_at(int n, int k) { return ((k >> 4) * 8 + n) * 16 + (k & 15); }

// The byte of an operand's 512 bytes (32 halves or 16 floats of each sequence) from which a lane
// reads 16: two fragments b of `mma`. The sum over k runs in the order in which lanes read.
DEVICE int lane_at(int lane) {
  if (sizeof(el) == 4) return lane * 16;
  const int q = lane & 3, n = lane >> 2;
  return (q >> 1) * 256 + n * 32 + (q & 1) * 16;
}

// ---- waits that end -----------------------------------------------------------------------------

// Whoever has waited too long says so in `status`, and everybody stops waiting: the kernel then
// runs on with numbers that mean nothing, meets all its barriers of threads, and ends. No thread may
// leave earlier: others would wait for it at such a barrier, which has no limit.
struct Watch {
  int* status;        // of the whole launch: 1 + the block that gave up first, or one of those
  bool lost = false;  // whether this thread waits no more
};

// The patience of one wait: `do { look; } while (!there && wait.goes_on());`
struct Wait {
  Watch& watch;
  u32 polls = 0;
  u64 since = 0;
  DEVICE Wait(Watch& w) : watch(w) {}
  DEVICE bool goes_on() {
    if (!watch.lost && ++polls % POLLS == 0) {
      const u64 now = nanoseconds();
      if (since == 0) since = now;
      if (now - since > PATIENCE) *(volatile int*)watch.status = 1 + (int)blockIdx.x;
      watch.lost = *(volatile int*)watch.status != 0;
    }
    return !watch.lost;
  }
};

#if __CUDA_ARCH__ >= 900
DEVICE void wait(u32 barrier, u32 parity, Watch& watch) {
  Wait patience(watch);
  while (!barrier_passed(barrier, parity) && patience.goes_on()) {
  }
}
DEVICE void arm(u32 barrier, u32 bytes, const Watch& watch) {  // a phase that was lost never ends
  if (!watch.lost) barrier_arm(barrier, bytes);
}
#endif

// ---- functions of the language ------------------------------------------------------------------

// NaN stays NaN in all but `sign`, which makes it 0, and comparisons.
namespace fn {
DEVICE float div(float a, float b) { return FAST ? __fdividef(a, b) : a / b; }
DEVICE float exp(float v) { return FAST ? __expf(v) : expf(v); }
DEVICE float log(float v) { return FAST ? __logf(v) : logf(v); }
DEVICE float where(float c, float a, float b) { return c != 0.f ? a : b; }
DEVICE float minimum(float a, float b) { return a != a || a < b ? a : b; }
DEVICE float maximum(float a, float b) { return a != a || a > b ? a : b; }
DEVICE float clamp_min(float v, float bound) { return v < bound ? bound : v; }
DEVICE float clamp_max(float v, float bound) { return v > bound ? bound : v; }
DEVICE float relu(float v) { return v < 0.f ? 0.f : v; }
DEVICE float sign(float v) { return (float)(v > 0.f) - (float)(v < 0.f); }
DEVICE float hardsigmoid(float v) { return clamp_max(clamp_min(v + 3.f, 0.f), 6.f) * (1.f / 6.f); }
DEVICE float sigmoid(float v) { return div(1.f, 1.f + exp(-v)); }
DEVICE float tanh(float v) {
  return FAST ? 2.f * __fdividef(1.f, 1.f + __expf(-2.f * v)) - 1.f : tanhf(v);
}
DEVICE float softplus(float v) { return relu(v) + log1pf(exp(-fabsf(v))); }
}  // namespace fn
