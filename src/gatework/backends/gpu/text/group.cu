// The form `group`: all steps of a plan in one kernel. A group of BLOCKS blocks holds the learned
// matrices once and runs some of the sequences; groups know nothing of each other.
//
// Units come in tiles of 16, sequences in octets. A block has `wide` tiles of each size, and a tile
// is worked by WARPS warps: each has a part of the sums over the operands (as fragments of weights
// in registers, the rest in shared memory), and after the products some pairs of a unit and a
// sequence, whose values it computes and keeps in registers.
//
// A stage: wait for the rows that it reads whole; products; sums of the parts; unit by unit; send
// what the next stage reads whole; only then write, and read what the next step needs.
//
// The generator defines, before this: BLOCKS, TILES of a block (the most of any size), WARPS,
// OCTETS, FRAGMENTS of weights of a warp and how many of them are KEPT in registers, FLIGHT chunks
// of operands that are read before they are multiplied, EXCHANGES of a step, TOTALS (whether any of
// them has partial sums), SUMS (the most of a stage), BUFFER and STEP bytes of the largest exchange
// and of all of a step, SUMS_AT and WEIGHTS_AT in shared memory, RAGGED, REVERSE, SEVERAL (whether
// sizes have unlike numbers of tiles in a block), SCATTERED (whether blocks multiply only their own
// units' operands, and send partial sums), AHEAD steps that are fetched into a cache.

constexpr int THREADS = TILES * WARPS * 32;
constexpr int PAIRS = (4 * OCTETS + WARPS - 1) / WARPS;  // of a thread
constexpr int WIDTH = 16 / sizeof(el);                   // elements of a packet of 16 bytes
constexpr int CHUNK = 512;                               // bytes of an octet that a warp reads at once
constexpr int CHUNK_TILES = 64 / (16 * sizeof(el));      // its tiles

DEVICE float lowest() { return __uint_as_float(0xff800000u); }  // minus infinity

struct Thread {
  int lane, tile, part;  // the tile of its block and the part of its sums that its warp works on
  int rank, group, groups;
  int first, count;  // the sequences of its group that run now
  int rounds;        // in which its group runs all of its sequences
  DEVICE int sequence(int pair) const { return 2 * (pair * WARPS + part) + (lane >> 4); }
  DEVICE bool has_pairs() const { return 2 * part < 8 * OCTETS; }
  DEVICE int warp() const { return tile * WARPS + part; }
};

DEVICE void sync_tile(const Thread& at) {
  if (WARPS > 1)
    sync_some(at.tile + 1, WARPS * 32);
  else
    sync_warp();
}

template <int UNITS>
struct Size {
  static constexpr int units = UNITS;
  static constexpr int wide = ((UNITS + 15) / 16 + BLOCKS - 1) / BLOCKS;  // tiles of a block
  static constexpr int sent = wide * BLOCKS;
  DEVICE static bool works(const Thread& at) { return at.tile < wide; }
  DEVICE static int tile(const Thread& at) { return at.rank * wide + at.tile; }
  DEVICE static int unit(const Thread& at) { return tile(at) * 16 + (at.lane & 15); }
  DEVICE static bool has(const Thread& at) { return works(at) && unit(at) < UNITS; }
};

struct Single {  // the size "1": every thread has it, one writes it
  DEVICE static int unit(const Thread&) { return 0; }
  DEVICE static bool has(const Thread&) { return true; }
  DEVICE static bool writes(const Thread& at) {
    return at.rank == 0 && at.tile == 0 && (at.lane & 15) == 0;
  }
};

// The sums of a tile and an octet: 8 rows of 16 floats, padded to 20. A lane has two pairs of
// neighbouring sequences of units 8 apart, as the products of fragments give them.
constexpr int TILE_SUMS = 160;
DEVICE int fragment_at(int lane) { return (lane >> 2) * 20 + (lane & 3) * 4; }
DEVICE int sum_at(int n, int lane) {  // of the unit lane % 16 and sequence n
  return (lane & 7) * 20 + ((n & 7) >> 1) * 4 + (lane >> 3 & 1) * 2 + (n & 1);
}

// ---- what is exchanged --------------------------------------------------------------------------

// A row of the element that matrices multiply; AT is its first chunk among those of the exchange.
template <class S, int AT>
struct Operand {
  using Units = S;
  static constexpr int at = AT;
  static constexpr int parts = SCATTERED ? 1 : WARPS;
  static constexpr int tiles = SCATTERED ? S::wide : S::sent;
  static constexpr int share = (tiles + parts * CHUNK_TILES - 1) / (parts * CHUNK_TILES);
  static constexpr int chunks = share * parts;  // `share` for each part
  DEVICE static int arriving(int part) {        // tiles of a part; the others are zeros
    return max(0, min(S::sent - part * share * CHUNK_TILES, share * CHUNK_TILES));
  }
};

// Sums over the units of rows of a size, maxima where MAXIMA has a bit: each tile sends its own. AT
// is the first packet among those of the exchange, FIRST the first value among its partials.
template <class S, int AT, int FIRST, int COUNT, u32 MAXIMA>
struct Partials {
  using Units = S;
  static constexpr int at = AT, first = FIRST, count = COUNT;
  static constexpr int each = (COUNT + 3) / 4;  // packets of a tile and a sequence
  static constexpr int packets = S::sent * 8 * OCTETS * each;
  DEVICE static float nothing(int k) { return MAXIMA >> k & 1 ? lowest() : 0.f; }
  DEVICE static float both(int k, float a, float b) {
    return MAXIMA >> k & 1 ? fn::maximum(a, b) : a + b;
  }
  DEVICE static int packet(int tile, int n) { return AT + (tile * 8 * OCTETS + n) * each; }
};

template <class... O> struct Rows {};
template <class... P> struct Totals {};

template <int INDEX, int BEFORE, class R, class T> struct Exchange;
template <int INDEX, int BEFORE, class... O, class... P>
struct Exchange<INDEX, BEFORE, Rows<O...>, Totals<P...>> {
  static constexpr bool exists = true;
  static constexpr int index = INDEX, before = BEFORE;  // bytes of those before it in a step
  static constexpr int rows = sizeof...(O), values = (P::count + ... + 0);
  static constexpr int octet = CHUNK * (O::chunks + ... + 0);
  static constexpr int bytes = OCTETS * octet + 16 * (P::packets + ... + 0);
  DEVICE static u32 expected(int part, int count) {  // bytes of operands
    return count * 16 * (int)sizeof(el) * (O::arriving(part) + ... + 0);
  }
  DEVICE static u32 expected_totals(int count) {
    return count * 16 * ((P::Units::sent * P::each) + ... + 0);
  }
  template <class Paths>
  DEVICE static void send(const Thread& at, const Paths& paths, int n, int step, const el* row,
                          const float* value) {
    int k = 0;
    (paths.template send_row<Exchange, O>(at, n, step, row[k++]), ...);
    (send_totals<P>(at, paths, n, step, value + P::first), ...);
  }
  template <class S, class Paths>
  DEVICE static void send_totals(const Thread& at, const Paths& paths, int n, int step,
                                 const float* value) {
    float sums[4 * S::each] = {};
#pragma unroll
    for (int k = 0; k < S::count; ++k) sums[k] = over_tile<S>(k, value[k]);
    if (S::Units::works(at)) paths.template send_totals<Exchange, S>(at, n, step, sums);
  }
  template <class Paths>
  DEVICE static void gather(const Thread& at, Paths& paths, int n, int step, float* total) {
    (gather_one<P>(at, paths, n, step, total + P::first), ...);
  }
  // The lanes of a sequence take turns with the tiles, in the same order in every block.
  template <class S, class Paths>
  DEVICE static void gather_one(const Thread& at, Paths& paths, int n, int step, float* total) {
#pragma unroll
    for (int k = 0; k < S::count; ++k) total[k] = S::nothing(k);
#pragma unroll 4
    for (int tile = at.lane & 15; tile < S::Units::sent; tile += 16) {
      float sums[4 * S::each];
      paths.template fetch_totals<Exchange, S>(sums, at, tile, n, step);
#pragma unroll
      for (int k = 0; k < S::count; ++k) total[k] = S::both(k, total[k], sums[k]);
    }
    sync_warp();
#pragma unroll
    for (int k = 0; k < S::count; ++k) total[k] = over_tile<S>(k, total[k]);
  }
  // Over the 16 lanes of a sequence; a + b is b + a, so all lanes get the same bits.
  template <class S>
  DEVICE static float over_tile(int k, float v) {
#pragma unroll
    for (int mask = 8; mask; mask >>= 1) v = S::both(k, v, shuffle_xor(v, mask));
    return v;
  }
};

struct Nothing {  // in the place of an exchange
  static constexpr bool exists = false;
  static constexpr int index = 0, rows = 0, values = 0, bytes = 0;
};

// 16 bytes of one sequence, in every lane of those that have their units.
DEVICE uint4 packed(el v, int lane) {
  const int first = lane & ~(WIDTH - 1);
  u32 word = bits(v);
  if (WIDTH == 8) word |= shuffle_down(word, 1) << 16;
  constexpr int by = WIDTH / 4;
  return make_uint4(shuffle(word, first), shuffle(word, first + by), shuffle(word, first + 2 * by),
                    shuffle(word, first + 3 * by));
}

// Where the packet of a lane lies in an operand's rows of an exchange.
template <class X, class O>
DEVICE int packet_at(const Thread& at, int n) {
  const int unit = O::Units::tile(at) * 16 + (at.lane & 15 & ~(WIDTH - 1));
  return (n >> 3) * X::octet + O::at * CHUNK + op_at(n & 7, unit) * (int)sizeof(el);
}
