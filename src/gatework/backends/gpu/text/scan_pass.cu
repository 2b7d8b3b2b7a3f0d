// The kernel where there are enough units of sequences to keep the card busy: each is a thread, which
// runs all steps. Memory is read once.

extern "C" __global__ void __launch_bounds__(THREADS) run(const Arguments a) {
  const Thread at = thread_of(a, (i64)blockIdx.x * blockDim.x + threadIdx.x);
  if (!at.here) return;
  const Fixed v(a, at);
  States s;
  s.begin(a, at);
  s.store_first(a, at);
  write_steps(a, at, v, s, 0, at.length);
  s.end(a, at);
}
