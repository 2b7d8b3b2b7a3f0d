// Runs kernels on the CPU: a fiber for every thread, switched where threads wait for each other.
// Which runs next, and when what is sent to other blocks arrives, is drawn from a seed. It knows
// nothing of speed, nor of the order of plain loads and stores.

#include "threads.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <tuple>

static Stacks stacks;
static std::string failure;
static sigjmp_buf out;

static void fail(const char* format, ...) {
  char text[300];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  failure.clear();
  if (me)
    failure = "block " + std::to_string(me->block->index) + ", thread " +
              std::to_string(me->thread) + ": ";
  failure += text;
  if (me) home.before_jump();
  siglongjmp(out, 1);
}

// ---- threads that begin and end -------------------------------------------------------------------

static void thread() {
  home.arrived();
  launch.run(launch.arguments);
  me->done = true;
  Block& b = *me->block;
  b.alive--;
  b.cluster->alive--;
  close_if_all(b.meeting, b.alive);  // whoever has ended is not waited for
  close_if_all(b.cluster->meeting, b.cluster->alive);
  progress++;
  home.go_back(&me->stack);
}

static void begin(Block& b, int index, int place) {
  b.index = index;
  b.cluster = &clusters[index / launch.cluster];
  b.alive = launch.threads;
  b.warps.resize(launch.threads / 32);
  b.shared = std::make_unique<Guarded>(launch.shared);
  if (!b.shared->begin) fail("no memory for a block's shared memory");
  memset(b.shared->begin, 0xff, b.shared->bytes);  // NaN, whatever it is read as
  for (int t = 0; t < launch.threads; t++) {
    const size_t at = (size_t)place * launch.threads + t;
    fibers[at] = Fiber();
    fibers[at].block = &b;
    fibers[at].thread = t;
    forget_stack(stacks[at]);
    fibers[at].stack = prepared(stacks[at], thread);
  }
}

// Clusters take the places that there are, in an order of their own, as others leave them.
struct Places {
  std::vector<int> waiting, taken;  // clusters; of each place, the cluster that has it or -1

  Places(int count, int room) : waiting(count), taken(std::min(count, room), -1) {
    for (int i = 0; i < count; i++) waiting[i] = count - 1 - i;
    if (launch.seed) std::shuffle(waiting.begin(), waiting.end(), chance);
  }
  bool fill() {  // whether anybody is there
    bool any = false;
    for (size_t place = 0; place < taken.size(); place++) {
      int& cluster = taken[place];
      if (cluster >= 0 && clusters[cluster].alive == 0) leave(cluster);
      if (cluster < 0 && !waiting.empty()) enter(cluster, place);
      any |= cluster >= 0;
    }
    return any;
  }
  void enter(int& cluster, size_t place) {
    cluster = waiting.back();
    waiting.pop_back();
    clusters[cluster].alive = launch.cluster * launch.threads;
    for (int k = 0; k < launch.cluster; k++) {
      const int index = cluster * launch.cluster + k;
      begin(blocks[index], index, place * launch.cluster + k);
    }
    progress++;
  }
  void leave(int& cluster) {
    for (int k = 0; k < launch.cluster; k++) blocks[cluster * launch.cluster + k].shared.reset();
    cluster = -1;
    progress++;
  }
};

// ---- one round ------------------------------------------------------------------------------------

static void resume(Fiber& f) {
  if (f.done || !f.block || (f.ready && !f.ready(f.asked))) return;
  me = &f;
  threadIdx = {(u32)f.thread, 0, 0};
  blockIdx = {(u32)f.block->index, 0, 0};
  home.go_out(stacks[&f - fibers.data()], f.stack);
  me = nullptr;
}

// In which order warps run, and how slowly what is sent arrives. Every other seed lets them take
// turns, each time in another order. The others let the first go on as far as it can, then the
// next: so some run far ahead, and others, or whole blocks, come late.
struct Order {
  std::vector<int> warps;
  bool turns = launch.seed % 2 == 0, by_block = false;
  u64 slowness = launch.seed ? 1 << 2 * drawn(4) : 1;  // rounds that a letter takes, about

  explicit Order(size_t count) : warps(count) {
    for (size_t i = 0; i < count; i++) warps[i] = i;
    draw();
  }
  void draw() {
    if (launch.seed == 0) return;
    std::shuffle(warps.begin(), warps.end(), chance);
    if (turns || drawn(2)) return;
    std::map<int, u64> rank;  // of blocks' places
    const int each = launch.threads / 32;
    for (int w : warps) rank.emplace(w / each, chance());
    std::stable_sort(warps.begin(), warps.end(),
                     [&](int a, int b) { return rank[a / each] < rank[b / each]; });
  }
  void run() {
    if (turns || drawn(64) == 0) draw();
    for (int w : warps) {
      const u64 before = progress;
      run_warp(w);
      if (!turns && progress != before) return;
    }
  }
  static void run_warp(int w) {
    const u64 turn = launch.seed ? drawn(32) : 0, back = launch.seed ? drawn(2) * 31 : 0;
    for (u64 l = 0; l < 32; l++) resume(fibers[w * 32 + (((l + turn) & 31) ^ back)]);
  }
};

static std::string who_waits() {
  std::map<std::tuple<int, std::string, long>, std::vector<int>> groups;  // threads, by what for
  for (auto& f : fibers)
    if (f.block && !f.done)
      groups[{f.block->index, f.waits_for ? f.waits_for : "nothing", f.detail}].push_back(f.thread);
  std::string text = "nobody can go on";
  for (auto& [key, threads] : groups) {
    const auto& [block, what, detail] = key;
    text += "\n  block " + std::to_string(block) + ": " + what;
    if (detail >= 0) text += " " + std::to_string(detail);
    text += ", threads";
    for (size_t i = 0, j; i < threads.size(); i = j) {
      for (j = i + 1; j < threads.size() && threads[j] == threads[j - 1] + 1;) j++;
      text += " " + std::to_string(threads[i]);
      if (j > i + 1) text += "-" + std::to_string(threads[j - 1]);
    }
    if (text.size() > 2000) return text + "\n  ...";
  }
  return text;
}

constexpr int IDLE = 50;  // rounds without progress after which nobody can go on

static void run_all() {
  const int count = launch.blocks / launch.cluster;
  blocks = std::vector<Block>(launch.blocks);
  clusters.assign(count, Cluster());
  letters.clear();
  Places places(count, launch.resident);
  fibers.assign(places.taken.size() * launch.cluster * launch.threads, Fiber());
  if (!stacks.grow(fibers.size())) fail("no memory for %zu stacks", fibers.size());
  Order order(fibers.size() / 32);
  for (int idle = 0; places.fill(); time_now += 1000) {
    const u64 before = progress;
    order.run();
    if (progress != before)
      deliver_those([&](const Letter&) { return drawn(order.slowness) == 0; });
    else if (!letters.empty())  // only these can help: one of them
      deliver_those([one = &letters[drawn(letters.size())]](const Letter& l) { return &l == one; });
    idle = progress == before ? idle + 1 : 0;
    if (idle > IDLE && launch.patient && idle < 2 * IDLE) time_now += 20000000000ull;
    else if (idle > IDLE) {
      failure = who_waits();
      siglongjmp(out, 1);
    }
  }
  deliver_those([](const Letter&) { return true; });
}

// ---- a launch -------------------------------------------------------------------------------------

static void on_signal(int signal, siginfo_t* info, void*) {
  if (signal == SIGVTALRM) fail("it runs and runs");
  const char* at = (const char*)info->si_addr;
  const long byte = me && me->block->shared ? at - me->block->shared->begin : -1;
  if (byte >= -(long)page() && byte < launch.shared + (long)page())
    fail("byte %ld of %d of shared memory", byte, launch.shared);
  fail("an address that is not there: %p", (const void*)at);
}

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGVTALRM};
constexpr int LIMIT = 300;  // seconds of computing after which a kernel hangs

// Signals are ours while a kernel runs.
struct Signals {
  struct sigaction before[3];
  stack_t stack_before;
  Signals() {
    static char stack[64 * 1024];
    stack_t own{};
    own.ss_sp = stack;
    own.ss_size = sizeof stack;
    sigaltstack(&own, &stack_before);
    struct sigaction action{};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &action, &before[i]);
    alarm_in(LIMIT);
  }
  ~Signals() {
    alarm_in(0);
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    sigaltstack(&stack_before, nullptr);
  }
  static void alarm_in(int seconds) {
    const itimerval when{{0, 0}, {seconds, 0}};
    setitimer(ITIMER_VIRTUAL, &when, nullptr);
  }
};

// Runs a kernel; what went wrong, or null.
extern "C" const char* emulate(const Launch* what) {
  launch = *what;
  chance.seed(launch.seed);
  time_now = 1000;
  failure.clear();
  me = nullptr;
  blockDim = {(u32)launch.threads, 1, 1};
  gridDim = {(u32)launch.blocks, 1, 1};
  {
    Signals ours;
    if (!sigsetjmp(out, 1)) run_all();
    else if (me) home.after_jump();
  }
  blocks.clear();
  return failure.empty() ? nullptr : failure.c_str();
}
