// Exchanges of a group whose blocks are anywhere on the card: through memory, by way of the
// second-level cache. Every exchange of every step has its own place, which is EMPTY until it is
// written once, so a word that is not EMPTY has arrived: there is no flag and no fence.

DEVICE el apart(el v) { return FAST ? v : (el)kept_apart(v); }  // 16 bits are never EMPTY

struct Grid : Gathering {
  char* memory;
  Watch watch;
  DEVICE Grid(char*, const Arguments& a) : memory((char*)a.exchange), watch{(int*)a.status} {}
  DEVICE void open(const Thread&) {}
  DEVICE void close() {}
  template <class X>
  DEVICE char* place(const Thread& at, int step) const {
    return memory + ((i64)step * at.groups + at.group) * STEP + X::before;
  }
  template <class X> DEVICE void receive(const Thread&, int) {}
  template <class X> DEVICE void receive_totals(const Thread&, int) {}

  template <class X, class W>
  DEVICE void multiply(float* parts, const Thread& at, const Weights& weights, int step) {
    W::template multiply<X>(parts, at, *this, weights, step);
  }
  template <class X, class O>
  DEVICE void fetch(uint4 (&b)[FLIGHT][OCTETS], int from, const Thread& at, int step) {
    const int first = at.part * O::share + from;
    const char* row = place<X>(at, step) + lane_at(at.lane) + (O::at + first) * CHUNK;
    const int own = CHUNK_TILES == 2 ? at.lane >> 1 & 1 : 0;  // the tile of a chunk that a lane reads
    bool there[FLIGHT];
#pragma unroll
    for (int k = 0; k < FLIGHT; ++k) {
      there[k] = from + k < O::share && (first + k) * CHUNK_TILES + own < O::Units::sent;
      const u32 word = there[k] ? EMPTY : 0;
#pragma unroll
      for (int n = 0; n < OCTETS; ++n) b[k][n] = make_uint4(word, word, word, word);
    }
    Wait patience(watch);
    bool all;
    do {
      all = true;
#pragma unroll
      for (int k = 0; k < FLIGHT; ++k)
#pragma unroll
        for (int n = 0; n < OCTETS; ++n)
          if (there[k] && any_empty(b[k][n])) b[k][n] = load_relaxed(row + n * X::octet + k * CHUNK);
#pragma unroll
      for (int k = 0; k < FLIGHT; ++k)
#pragma unroll
        for (int n = 0; n < OCTETS; ++n) all = all && !any_empty(b[k][n]);
    } while (!all && patience.goes_on());
    sync_warp();
  }
  template <class X, class O>
  DEVICE void send_row(const Thread& at, int n, int step, el v) const {
    const uint4 c = packed(apart(v), at.lane);
    if (O::Units::works(at) && n < 8 * OCTETS && (at.lane & (WIDTH - 1)) == 0)
      store_relaxed(place<X>(at, step) + packet_at<X, O>(at, n), c);
  }
  template <class X, class S>
  DEVICE void send_totals(const Thread& at, int n, int step, const float* sums) const {
    if ((at.lane & 15) || n >= 8 * OCTETS) return;
    char* to = place<X>(at, step) + OCTETS * X::octet + 16 * S::packet(S::Units::tile(at), n);
#pragma unroll
    for (int k = 0; k < S::each; ++k)
      store_relaxed(to + 16 * k, make_uint4(word(sums[4 * k]), word(sums[4 * k + 1]),
                                            word(sums[4 * k + 2]), word(sums[4 * k + 3])));
  }
  DEVICE static u32 word(float v) { return __float_as_uint(kept_apart(v)); }
  template <class X, class S>
  DEVICE void fetch_totals(float* sums, const Thread& at, int tile, int n, int step) {
    const char* from = place<X>(at, step) + OCTETS * X::octet + 16 * S::packet(tile, n);
#pragma unroll
    for (int k = 0; k < S::each; ++k) {
      uint4 v = load_relaxed(from + 16 * k);
      Wait patience(watch);
      while (any_empty(v) && patience.goes_on()) v = load_relaxed(from + 16 * k);
      sums[4 * k] = __uint_as_float(v.x), sums[4 * k + 1] = __uint_as_float(v.y);
      sums[4 * k + 2] = __uint_as_float(v.z), sums[4 * k + 3] = __uint_as_float(v.w);
    }
  }
};
using Paths = Grid;
