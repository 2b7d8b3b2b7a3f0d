// What a thread has and computes of the cell, unit by unit. Spliced lines alone know what it is.

struct Thread {  // a unit of each size, of one sequence
  i64 row;
  int unit, length;  // length: how many steps the sequence has
  bool here;         // whether there is such a sequence
  // The row of the step that runs as the k-th.
  DEVICE i64 row_of(const Arguments& a, int k) const {
    return (i64)(REVERSE ? length - 1 - k : k) * a.batch + row;
  }
};

struct Fixed {  // what is the same at every step
  @FIXED@
  DEVICE Fixed(const Arguments& a, const Thread& at) {
    @FIX@
  }
};

struct Read {  // rows of sequences, as they lie in memory: converted only when they are used
  @READS@
  DEVICE void load(const Arguments& a, const Thread& at, i64 row) {
    @LOAD@
  }
};

struct States {
  @STATES@
  DEVICE void begin(const Arguments& a, const Thread& at) {
    @BEGIN@
  }
  DEVICE void end(const Arguments& a, const Thread& at) const {
    @END@
  }
  // Where a state is kept at all steps: the one before the first.
  DEVICE void store_first(const Arguments& a, const Thread& at) const {
    @STORE_FIRST@
  }
};

struct Written {
  @WRITTEN@
  DEVICE void store(const Arguments& a, const Thread& at, i64 row, const States& s) const {
    @STORE@
  }
};

// One step: the states become the new ones.
DEVICE void step(const Fixed& v, const Read& x, States& s, Written& w) {
  @STEP@
}
