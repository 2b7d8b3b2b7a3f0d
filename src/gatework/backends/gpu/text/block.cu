// A block runs one sequence through all steps. Rows of the step are floats in shared memory or in
// the block's scratch memory; parameters are read as they lie.

constexpr int THREADS = @THREADS@;
constexpr int TEAM = @TEAM@;        // blocks that share the products of a sequence
constexpr int PARTS = @PARTS@;      // parts of a sequence, which a team each runs
constexpr int STRETCH = @STRETCH@;  // steps from a mark to the next

// ---- numbers that lie together ------------------------------------------------------------------

template <int V>
DEVICE void load_weights(const el* p, float* to) {
  if constexpr (V == 1) {
    to[0] = load(p);
  } else {
    const uint4 words = *(const uint4*)p;
    const el* parts = (const el*)&words;
#pragma unroll
    for (int k = 0; k < V; ++k) to[k] = to_float(parts[k]);
  }
}

template <int V>
DEVICE void load_numbers(const float* p, float* to) {
  if constexpr (V % 4 == 0) {
#pragma unroll
    for (int k = 0; k < V; k += 4) {
      const uint4 words = *(const uint4*)(p + k);
      to[k] = __uint_as_float(words.x);
      to[k + 1] = __uint_as_float(words.y);
      to[k + 2] = __uint_as_float(words.z);
      to[k + 3] = __uint_as_float(words.w);
    }
  } else {
    to[0] = p[0];
  }
}

// Rows of a matrix that lie PITCH apart, next to each other, by all threads of the block.
template <int ROWS, int COLUMNS, int PITCH>
DEVICE void copy(const el* from, el* to, int rows, int columns, int thread) {
#pragma unroll 8
  for (int i = thread; i < ROWS * COLUMNS; i += THREADS) {
    const int row = i / COLUMNS, column = i % COLUMNS;
    if (row < rows && column < columns) to[i] = from[(i64)row * PITCH + column];
  }
}

// A thread's units of a row of N, from registers to where they are read.
template <int N>
DEVICE void put(const el* from, float* to, int thread) {
#pragma unroll
  for (int k = 0; k < (N + THREADS - 1) / THREADS; ++k) {
    const int i = thread + k * THREADS;
    if (i < N) to[i] = to_float(from[k]);
  }
}

// ---- sums and maxima ----------------------------------------------------------------------------

template <bool ADDS>
DEVICE float joined(float a, float b) {
  return ADDS ? a + b : fn::maximum(a, b);
}

template <bool ADDS>
DEVICE float neutral() {  // what changes nothing
  return ADDS ? 0.0f : __uint_as_float(0xff800000u);
}

// Of neighbouring lanes, the same to the last bit in each of them.
template <bool ADDS, int LANES>
DEVICE float joined(float v) {
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) v = joined<ADDS>(v, shuffle_xor(v, mask));
  return v;
}

// ---- products -----------------------------------------------------------------------------------

// What one of some lanes has of a row of K weights times K numbers.
template <int K, int LANES, int V>
DEVICE float part_of_row(const el* weights, const float* numbers, int lane) {
  float sums[V] = {};
#pragma unroll 4
  for (int k = lane * V; k < K; k += LANES * V) {
    float w[V], x[V];
    load_weights<V>(weights + k, w);
    load_numbers<V>(numbers + k, x);
#pragma unroll
    for (int i = 0; i < V; ++i) sums[i] += w[i] * x[i];
  }
  float sum = sums[0];
#pragma unroll
  for (int i = 1; i < V; ++i) sum += sums[i];
  return sum;
}

// Add every SLICES-th row's V weights, times that row's number.
template <int ROWS, int SLICES, int V>
DEVICE void add_columns(const el* weights, int pitch, const float* numbers, int slice, float* sums) {
#pragma unroll 4
  for (int row = slice; row < ROWS; row += SLICES) {
    float w[V];
    load_weights<V>(weights + (i64)row * pitch, w);
    const float x = numbers[row];
#pragma unroll
    for (int i = 0; i < V; ++i) sums[i] += w[i] * x;
  }
}

// Numbers that lie PITCH apart.
template <int SLICES, int PITCH>
DEVICE float added_slices(const float* first) {
  float sum = 0.0f;
  for (int k = 0; k < SLICES; ++k) sum += first[k * PITCH];
  return sum;
}

// Of all warps of a block, from what each has; the same to the last bit in every thread.
template <bool ADDS>
DEVICE float joined_warps(const float* parts) {
  constexpr int WARPS = THREADS / 32;
  const int lane = threadIdx.x % 32;
  return joined<ADDS, 32>(lane < WARPS ? parts[lane] : neutral<ADDS>());
}

// ---- running sums -------------------------------------------------------------------------------

DEVICE float summed_up_to_lane(float v, int lane) {
#pragma unroll
  for (int by = 1; by < 32; by *= 2) {
    const float before = shuffle_up(v, by);
    if (lane >= by) v += before;
  }
  return v;
}

// ---- the kernel ---------------------------------------------------------------------------------

@TABLES@

@ARGUMENTS@

extern "C" __global__ void __launch_bounds__(THREADS, 1) run(const Arguments arguments) {
  const int thread = threadIdx.x;
  const i64 steps = arguments.steps, batch = arguments.batch;
  const int rank = blockIdx.x % TEAM, part = blockIdx.x / TEAM % PARTS;
@ROWS@
  @MEET@
  for (i64 place = blockIdx.x / (TEAM * PARTS); place < batch; place += gridDim.x / (TEAM * PARTS)) {
    const i64 row = arguments.order ? arguments.order[place] : place;
    const i64 length = arguments.lengths ? arguments.lengths[row] : steps;
@SEQUENCE@
    @MEET@
  }
}
