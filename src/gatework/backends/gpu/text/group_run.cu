// The frame of the kernel: what a thread has, a stage, and all steps.

struct Pair {  // a unit of each size, of one sequence
  Kept kept;
  Read read;  // elements of the next step: converted only when they are used
  i64 row;
  int length;
  bool here;
};

struct Step {
  int index, time, steps;  // how many ran before it, of which time it is, how many there are
  int before;              // steps of the sequences that the group has run already
  i64 batch;
  DEVICE int number(int ahead = 0) const { return before + index + ahead; }  // of its exchanges
  DEVICE bool last() const { return index + 1 == steps; }
  DEVICE i64 row(const Pair& pair, int ahead = 0) const {
    return (time + (REVERSE ? -ahead : ahead)) * batch + pair.row;
  }
};

template <class Stage>
DEVICE void run_stage(const Arguments& a, const Thread& at, Paths& paths, float* sums,
                      const Weights& weights, const Learned& learned, Pair (&pairs)[PAIRS],
                      const Step& step) {
  using X = typename Stage::Waits;
  using Y = typename Stage::Sends;
  float* parts = paths.parts(sums, at, step.number() * EXCHANGES + X::index);
  if constexpr (X::exists) {
    paths.template receive<X>(at, step.number());
    paths.template multiply<X, typename Stage::Products>(parts, at, weights, step.number());
    if (TOTALS) paths.template receive_totals<X>(at, step.number());
    paths.meet(at);
  }
  typename Stage::Written written[PAIRS];
  if (at.has_pairs()) {
    float sum[PAIRS][Stage::Products::sums + 1], total[PAIRS][X::values + 1];
    float value[PAIRS][Y::values + 1];
    el row[PAIRS][Y::rows + 1];
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
#pragma unroll
      for (int g = 0; g < Stage::Products::sums; ++g)
        sum[p][g] = paths.summed(parts, g, at.sequence(p), at);
      if constexpr (X::exists) X::gather(at, paths, at.sequence(p), step.number(), total[p]);
    }
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
      const bool active = !RAGGED || step.time < pairs[p].length;
      Stage::compute(at, learned, pairs[p].read, sum[p], total[p], pairs[p].kept, written[p],
                     active, row[p], value[p]);
    }
    if constexpr (Y::exists)
      if (!Stage::last || !step.last()) {
#pragma unroll
        for (int p = 0; p < PAIRS; ++p)
          Y::send(at, paths, at.sequence(p), step.number(Stage::last), row[p], value[p]);
      }
  }
  if constexpr (Y::exists)
    paths.template scatter<Y, typename Stage::Next>(sums, at, weights, step.number());
  if (at.has_pairs()) {
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
      const Pair& pair = pairs[p];
      if (Stage::last && !step.last() && pair.here) pairs[p].read.load(a, at, step.row(pair, 1));
      if (pair.here && (!RAGGED || step.time < pair.length))
        written[p].write(a, at, step.row(pair), pair.kept);
      if (Stage::last && step.index + AHEAD < step.steps && pair.here && (at.lane & 15) == 0)
        Read::fetch_ahead(a, at, step.row(pair, AHEAD));
    }
  }
}

template <class... STAGES>
struct Stages {
  template <class... Args>
  DEVICE static void run(Args&... args) {
    (run_stage<STAGES>(args...), ...);
  }
};

// How many steps some sequences run: as many as the longest of them has.
DEVICE int longest(const Arguments& a, const Thread& at) {
  if (!RAGGED) return (int)a.steps;
  int most = 0;
  for (int n = 0; n < at.count && at.first + n < a.batch; ++n)
    most = max(most, length_of(a, row_of(a, at.first + n)));
  return most;
}

DEVICE int shared_out(int whole, int parts) { return (whole + parts - 1) / parts; }

// Groups run all sequences at once; in rounds, if they are more than their octets have room for.
DEVICE Thread this_thread(const Arguments& a) {
  const int warp = threadIdx.x >> 5, groups = gridDim.x / BLOCKS, group = blockIdx.x / BLOCKS;
  const int rounds = shared_out((int)a.batch, groups * 8 * OCTETS);
  const int count = shared_out((int)a.batch, groups * rounds);
  return {(int)threadIdx.x & 31, warp / WARPS, warp % WARPS, (int)blockIdx.x % BLOCKS,
          group, groups, group * count, count, rounds};
}

// What the first stage of the first step waits for: the exchange of a step of this number.
template <class X>
DEVICE void send_first(const Thread& at, const Paths& paths, const Learned& learned,
                       const Pair (&pairs)[PAIRS], int number) {
  if constexpr (X::exists) {
    if (!at.has_pairs()) return;
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
      el row[X::rows + 1];
      float value[X::values + 1];
      before_step(at, learned, pairs[p].kept, row, value);
      X::send(at, paths, at.sequence(p), number, row, value);
    }
  }
}

// All steps of some sequences; how many they were.
DEVICE int run_sequences(const Arguments& a, const Thread& at, Paths& paths, float* sums,
                         const Weights& weights, const Learned& learned, int before) {
  Pair pairs[PAIRS];
  const int steps = longest(a, at);
  Step step{0, REVERSE ? steps - 1 : 0, steps, before, a.batch};
#pragma unroll
  for (int p = 0; p < PAIRS; ++p) {
    Pair& pair = pairs[p];
    const int n = at.sequence(p);
    pair.here = n < at.count && at.first + n < a.batch;
    pair.row = pair.here ? row_of(a, at.first + n) : 0;
    pair.length = pair.here ? length_of(a, pair.row) : 0;
    pair.kept.begin(a, at, pair.row, pair.here);
    pair.read.clear();
    if (pair.here && steps) pair.read.load(a, at, step.row(pair));
  }
  if (steps) send_first<First>(at, paths, learned, pairs, before);
  for (; step.index < steps; ++step.index) {
    AllStages::run(a, at, paths, sums, weights, learned, pairs, step);
    step.time += REVERSE ? -1 : 1;
  }
#pragma unroll
  for (int p = 0; p < PAIRS; ++p)
    if (pairs[p].here) pairs[p].kept.end(a, at, pairs[p].row);
  return steps;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) run(const Arguments a) {
  Thread at = this_thread(a);
  char* memory = shared_memory();
  Paths paths(memory, a);
  float* sums = (float*)(memory + SUMS_AT);
  Weights weights((uint4*)(memory + WEIGHTS_AT), at);
  hold_all(weights, a, at);
  const Learned learned(a, at);
  paths.open(at);
  int before = 0;
#pragma unroll 1
  for (int round = 0; round < at.rounds; ++round) {
    before += run_sequences(a, at, paths, sums, weights, learned, before);
    at.first += at.groups * at.count;
  }
  paths.close();
}
