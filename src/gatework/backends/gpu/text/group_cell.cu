// What a thread has of the cell. Spliced lines alone know what it computes.

struct Learned {  // vectors of the thread's units
  @VECTORS@
  DEVICE Learned(const Arguments& a, const Thread& at) {
    @LEARN@
  }
};

struct Read {  // rows of sequences, as they lie in memory
  @READS@
  DEVICE void clear() { *this = Read{}; }
  DEVICE void load(const Arguments& a, const Thread& at, i64 row) {
    @LOAD@
  }
  DEVICE static void fetch_ahead(const Arguments& a, const Thread& at, i64 row) {
    @FETCH@
  }
};

struct Kept {  // states, and values for later stages
  @VALUES@
  DEVICE void begin(const Arguments& a, const Thread& at, i64 row, bool here) {
    @BEGIN@
  }
  DEVICE void advance(bool active) {
    @ADVANCE@
  }
  DEVICE void end(const Arguments& a, const Thread& at, i64 row) const {
    @END@
  }
};

// What the first stage reads whole of what is there before a step.
DEVICE void before_step(const Thread& at, const Learned& v, const Kept& k, el* row, float* value) {
  @BEFORE@
}

@STAGES@

template <class... S> struct Stages;  // runs them
using AllStages = Stages<@NAMES@>;
using First = @FIRST@;

DEVICE void hold_all(Weights& weights, const Arguments& a, const Thread& at) {
  @HOLD@
}

DEVICE i64 row_of(const Arguments& a, int n) { return @ROW@; }
DEVICE int length_of(const Arguments& a, i64 row) { return @LENGTH@; }
