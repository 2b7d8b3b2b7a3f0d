// What C++ has no words for: elements of memory, products of fragments, and how threads wait for
// and send to each other. All PTX of the backend stands here, and the tests have every function of
// this file once more for the CPU. The generator defines HALF, BFLOAT (1 for that element; both 0
// for float) before it.

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

#define DEVICE __device__ __forceinline__

// ---- elements -----------------------------------------------------------------------------------

#if HALF
using el = u16;
DEVICE float to_float(el v) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
  return r;
}
DEVICE el to_el(float v) {  // a NaN becomes 0x7fff
  el r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v));
  return r;
}
#elif BFLOAT
using el = u16;
DEVICE float to_float(el v) { return __uint_as_float((u32)v << 16); }
DEVICE el to_el(float v) {  // a NaN becomes 0x7fff
  el r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v));
  return r;
}
#else
using el = float;
DEVICE float to_float(el v) { return v; }
DEVICE el to_el(float v) { return v; }
#endif

// ---- products of fragments ----------------------------------------------------------------------

// d += a b, with d 16 × 8, a 16 × 16, b 16 × 8 of the 16-bit element: PTX's m16n8k16.
DEVICE void mma_k16(float* d, const u32* a, u32 b0, u32 b1) {
#if HALF
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// d += a b, with a 16 × 8, b 8 × 8 of floats whose last 13 bits are not looked at: m16n8k8.
DEVICE void mma_k8(float* d, const u32* a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- lanes of a warp, which must all be there ---------------------------------------------------

DEVICE void sync_warp() { __syncwarp(); }
DEVICE u32 shuffle(u32 v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE float shuffle(float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
DEVICE u32 shuffle_down(u32 v, int by) { return __shfl_down_sync(0xffffffffu, v, by); }
DEVICE float shuffle_down(float v, int by) { return __shfl_down_sync(0xffffffffu, v, by); }
DEVICE u32 shuffle_up(u32 v, int by) { return __shfl_up_sync(0xffffffffu, v, by); }
DEVICE float shuffle_up(float v, int by) { return __shfl_up_sync(0xffffffffu, v, by); }
DEVICE u32 shuffle_xor(u32 v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

// ---- a block ------------------------------------------------------------------------------------

// The shared memory that the launch gives, aligned to 128 bytes; there is no other.
DEVICE char* shared_memory() {
  extern __shared__ __align__(128) char memory[];
  return memory;
}

DEVICE void sync_block() { __syncthreads(); }

// Some warps of a block, `threads` of them in all, meet at barrier 1 to 15.
DEVICE void sync_some(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// ---- blocks of a cluster ------------------------------------------------------------------------

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

#if __CUDA_ARCH__ >= 900
// The same address in the shared memory of another block of the cluster.
DEVICE u32 in_block(u32 address, u32 rank) {
  u32 r;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank));
  return r;
}

DEVICE void sync_cluster() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Barriers of 8 bytes in shared memory. A phase ends once it was armed and as many bytes as it was
// armed with have been sent; the first phase has parity 0.
DEVICE void barrier_init(u32 barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
}
DEVICE void barrier_fence() {  // after the barriers of a block are made, before sync_cluster
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
DEVICE void barrier_arm(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
DEVICE bool barrier_passed(u32 barrier, u32 parity) {  // may wait for a moment
  u32 ok;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}"
      : "=r"(ok)
      : "r"(barrier), "r"(parity)
      : "memory");
  return ok;
}

// Write 16 bytes into a block's shared memory, and count them at a barrier of that block.
DEVICE void send(u32 to, u32 a, u32 b, u32 c, u32 d, u32 barrier) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1,%2,%3,%4}, [%5];" ::
          "r"(to), "r"(a), "r"(b), "r"(c), "r"(d), "r"(barrier)
      : "memory");
}

// Write a float into a block's shared memory; seen there after sync_cluster.
DEVICE void store_in(u32 to, float v) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(to), "f"(v) : "memory");
}
#endif

// ---- blocks of a grid ---------------------------------------------------------------------------

// Through the second-level cache. A reader knows by the words themselves that they have arrived:
// no order between words is kept.
DEVICE uint4 load_relaxed(const void* p) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
DEVICE void store_relaxed(void* p, uint4 v) {
  asm volatile("st.relaxed.gpu.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

DEVICE void prefetch(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// ---- time ---------------------------------------------------------------------------------------

constexpr u32 POLLS = 256;               // between two looks at the clock
constexpr u64 PATIENCE = 10000000000ull;  // nanoseconds that anybody waits

DEVICE u64 nanoseconds() {
  u64 r;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(r));
  return r;
}
