// The kernel where there are few units of sequences, and new states are linear in old ones: the steps
// of each are cut into chunks, a thread for each. A block has WIDTH units and all their chunks.
//
//   1. A thread runs the steps of its chunk from zero states, and multiplies what takes the states
//      before them to those after them: a map. The first chunk has the initial states.
//   2. It follows the maps of the chunks before its own, so it knows the states before its first step.
//   3. It runs the steps of its chunk from there, and writes.
//
// What is read is read twice, so a call that reads R and writes W costs 2R + W in place of R + W.

struct Map {  // of linear states through some steps: the factors of old ones in new ones
  @FACTORS@
  // One more step, whose old states are given.
  DEVICE void follow(const Fixed& v, const Read& x, const States& s) {
    @FOLLOW@
  }
};

struct Chunk {
  Map map;
  States made;  // from zero states, or from the initial ones
};

DEVICE void clear_linear(States& s) {
  @CLEAR@
}

// The linear states after a chunk, from those before it. A state of 0 stays without influence where
// the product of many factors has become infinite.
DEVICE float times(float factor, float state) { return state == 0.f ? 0.f : factor * state; }
DEVICE void pass_through(const Chunk& c, States& s) {
  @PASS@
}

extern "C" __global__ void __launch_bounds__(WIDTH * CHUNKS) run(const Arguments a) {
  const int lane = threadIdx.x % WIDTH, chunk = threadIdx.x / WIDTH;
  const Thread at = thread_of(a, (i64)blockIdx.x * WIDTH + lane);
  const int steps = (at.length + CHUNKS - 1) / CHUNKS;
  const int first = min(chunk * steps, at.length), end = min(first + steps, at.length);
  const Fixed v(a, at);
  Chunk* chunks = (Chunk*)shared_memory();
  Chunk own;
  States s;
  if (at.here) s.begin(a, at);
  // States that are rows of steps before are known after DEPTH steps, whatever they were.
  Written nothing;
  run_steps(a, at, max(first - DEPTH, 0), first,
            [&](const Read& x, i64 row) { step(v, x, s, nothing); });
  if (chunk) clear_linear(s);
  States begun = s;
  run_steps(a, at, first, end, [&](const Read& x, i64 row) {
    own.map.follow(v, x, s);
    step(v, x, s, nothing);
  });
  own.made = s;
  chunks[threadIdx.x] = own;
  sync_block();
  if (!at.here) return;
  for (int c = 0; c < chunk; ++c) pass_through(chunks[c * WIDTH + lane], begun);
  if (chunk == 0) begun.store_first(a, at);
  write_steps(a, at, v, begun, first, end);
  if (chunk + 1 == CHUNKS) begun.end(a, at);
}
