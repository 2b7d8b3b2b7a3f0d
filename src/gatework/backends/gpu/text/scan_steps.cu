// How a thread runs steps.

DEVICE Thread thread_of(const Arguments& a, i64 index) {
  Thread at;
  at.here = index < a.batch * UNITS;
  at.row = at.here ? index / UNITS : 0;
  at.unit = (int)(index % UNITS);
  at.length = !at.here ? 0 : (int)(a.lengths ? a.lengths[at.row] : a.steps);
  return at;
}

// Visits the steps that run from the first-th to before the end-th. Their rows are on the way from
// memory AHEAD steps before they are used: a thread computes little, and memory is far.
template <class Visit>
DEVICE void run_steps(const Arguments& a, const Thread& at, int first, int end, Visit visit) {
  if (first >= end) return;
  Read ahead[AHEAD];
#pragma unroll
  for (int i = 0; i < AHEAD; ++i) ahead[i].load(a, at, at.row_of(a, min(first + i, end - 1)));
  for (int k = first; k < end; k += AHEAD) {
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      if (k + i >= end) return;
      const Read x = ahead[i];
      ahead[i].load(a, at, at.row_of(a, min(k + i + AHEAD, end - 1)));
      visit(x, at.row_of(a, k + i));
    }
  }
}

// Runs steps, and stores what they write.
DEVICE void write_steps(const Arguments& a, const Thread& at, const Fixed& v, States& s, int first,
                        int end) {
  run_steps(a, at, first, end, [&](const Read& x, i64 row) {
    Written w;
    step(v, x, s, w);
    w.store(a, at, row, s);
  });
}
