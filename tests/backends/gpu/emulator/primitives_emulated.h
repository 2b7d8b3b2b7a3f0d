// The functions of primitives.cu on the CPU, for text that g++ compiles: runtime.cpp has a fiber for
// every CUDA thread and switches between them where they wait for each other.

#include <math.h>
#include <string.h>

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

#define EMULATED 1
#define DEVICE inline
#define __CUDA_ARCH__ ARCHITECTURE
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__

// ---- what the compiler for cards has built in -----------------------------------------------------

struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(u32 a, u32 b) { return {a, b}; }
inline uint4 make_uint4(u32 a, u32 b, u32 c, u32 d) { return {a, b, c, d}; }
inline float2 make_float2(float a, float b) { return {a, b}; }
inline float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }
inline u32 __float_as_uint(float f) { u32 r; memcpy(&r, &f, 4); return r; }
inline float __uint_as_float(u32 u) { float r; memcpy(&r, &u, 4); return r; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float v) { return expf(v); }
inline float __logf(float v) { return logf(v); }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }

struct Dimensions { u32 x, y, z; };
extern "C" Dimensions threadIdx, blockIdx, blockDim, gridDim;

// ---- elements -------------------------------------------------------------------------------------

#if HALF
using el = u16;
inline float to_float(el v) { _Float16 h; memcpy(&h, &v, 2); return (float)h; }
inline el to_el(float v) {
  if (v != v) return 0x7fff;
  _Float16 h = (_Float16)v;
  el r;
  memcpy(&r, &h, 2);
  return r;
}
#elif BFLOAT
using el = u16;
inline float to_float(el v) { return __uint_as_float((u32)v << 16); }
inline el to_el(float v) {
  if (v != v) return 0x7fff;
  u32 u = __float_as_uint(v);
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;  // to the nearest, ties to even
}
#else
using el = float;
inline float to_float(el v) { return v; }
inline el to_el(float v) { return v; }
#endif

// ---- lanes of a warp ------------------------------------------------------------------------------

constexpr int WORDS = 6;  // that a lane shows to the others at most
using Shown = u32[32][WORDS];

// All 32 lanes do the same of these things: each shows some words, then sees those of all.
extern "C" const Shown& shown_to_warp(const char* what, const u32* words, int count);

inline u32 from_lane(const char* what, u32 v, int lane) { return shown_to_warp(what, &v, 1)[lane][0]; }
inline int this_lane() { return threadIdx.x & 31; }
inline void sync_warp() { shown_to_warp("sync_warp", nullptr, 0); }
inline u32 shuffle(u32 v, int lane) { return from_lane("shuffle", v, lane & 31); }
inline u32 shuffle_down(u32 v, int by) {
  int from = this_lane() + by;
  return from_lane("shuffle_down", v, from < 32 ? from : this_lane());
}
inline u32 shuffle_up(u32 v, int by) {
  int from = this_lane() - by;
  return from_lane("shuffle_up", v, from >= 0 ? from : this_lane());
}
inline u32 shuffle_xor(u32 v, int mask) {
  int from = this_lane() ^ mask;
  return from_lane("shuffle_xor", v, from < 32 ? from : this_lane());
}
#define FOR_FLOATS(shuffled) \
  inline float shuffled(float v, int a) { return __uint_as_float(shuffled(__float_as_uint(v), a)); }
FOR_FLOATS(shuffle)
FOR_FLOATS(shuffle_down)
FOR_FLOATS(shuffle_up)
FOR_FLOATS(shuffle_xor)

// ---- products of fragments ------------------------------------------------------------------------

// Which lane and word of a fragment hold a number is PTX's; r row, k place in the sum, n column.
inline void mma_k16(float* d, const u32* a, u32 b0, u32 b1) {
#if HALF || BFLOAT
  u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const Shown& all = shown_to_warp("mma_k16", words, 6);
  auto half = [](u32 word, int k) { return (double)to_float((el)(word >> 16 * (k & 1))); };
  for (int i = 0; i < 4; i++) {
    int r = this_lane() / 4 + i / 2 * 8, n = this_lane() % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 16; k++) {
      int lane = k % 8 / 2, upper = k / 8;
      sum += half(all[r % 8 * 4 + lane][r / 8 + 2 * upper], k) * half(all[n * 4 + lane][4 + upper], k);
    }
    d[i] = (float)sum;
  }
#endif
}

inline void mma_k8(float* d, const u32* a, u32 b0, u32 b1) {
  u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const Shown& all = shown_to_warp("mma_k8", words, 6);
  auto tf32 = [](u32 word) { return (double)__uint_as_float(word & 0xffffe000u); };
  for (int i = 0; i < 4; i++) {
    int r = this_lane() / 4 + i / 2 * 8, n = this_lane() % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 8; k++)
      sum += tf32(all[r % 8 * 4 + k % 4][r / 8 + 2 * (k / 4)]) * tf32(all[n * 4 + k % 4][4 + k / 4]);
    d[i] = (float)sum;
  }
}

// ---- a block, a cluster, a grid: runtime.cpp ------------------------------------------------------

extern "C" {
char* shared_memory();
void sync_block();
void sync_some(int barrier, int threads);
u32 shared_address(const void* p);
void sent(u32 to, const u32* words, u32 barrier);
void loaded(const void* p, void* into, int bytes);
void stored(void* p, const void* from, int bytes);
u64 nanoseconds();
}
#if __CUDA_ARCH__ >= 900
extern "C" {
u32 in_block(u32 address, u32 rank);
void sync_cluster();
void store_in(u32 to, float v);
void barrier_init(u32 barrier);
void barrier_fence();
void barrier_arm(u32 barrier, u32 bytes);
bool barrier_passed(u32 barrier, u32 parity);
}
inline void send(u32 to, u32 a, u32 b, u32 c, u32 d, u32 barrier) {
  u32 words[4] = {a, b, c, d};
  sent(to, words, barrier);
}
#endif
inline uint4 load_relaxed(const void* p) { uint4 v; loaded(p, &v, 16); return v; }
inline void store_relaxed(void* p, uint4 v) { stored(p, &v, 16); }
inline void prefetch(const void*) {}

constexpr u32 POLLS = 1;  // every look at the clock lets others run
constexpr u64 PATIENCE = 10000000000ull;
