// Runs kernels on the CPU: a fiber for every CUDA thread, switched where threads wait for each other.
// Which runs next, and when what is sent to other blocks arrives, is drawn from a seed. It knows
// nothing of speed, nor of the order of plain loads and stores.

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int WORDS = 6;
using Shown = u32[32][WORDS];
struct Dimensions { u32 x, y, z; };
extern "C" { Dimensions threadIdx, blockIdx, blockDim, gridDim; }

// ---- what there is --------------------------------------------------------------------------------

struct Meeting {  // of threads that wait until all have come
  int arrived = 0;
  u64 times = 0;
  bool any = false, any_before = false;
};

struct Warp {
  Shown shown[2];
  const char* what[2] = {nullptr, nullptr};
  int arrived[2] = {0, 0};
  u64 done[2] = {0, 0};
};

struct Barrier {  // an mbarrier that expects one arrival a phase
  int pending = 1;
  long bytes = 0;
  u32 phase = 0;
  void turn() {
    if (pending == 0 && bytes == 0) { phase++; pending = 1; }
  }
};

struct Cluster {
  Meeting meeting;
  int alive = 0;
};

struct Block {
  int index;
  Cluster* cluster;
  char* memory = nullptr;  // shared memory; ends where a page begins that nobody may touch
  int alive;
  Meeting meeting, some[16];
  std::vector<Warp> warps;
  std::map<u32, Barrier> barriers;
};

struct Fiber {
  void* stack = nullptr;  // where it was left
  Block* block = nullptr;
  int thread = 0;
  bool done = false;
  const char* waits_for = nullptr;  // what, and with which number
  u64 detail = 0;
  bool (*ready)(void*) = nullptr;
  void* asked = nullptr;
  u64 collectives = 0;
};

struct Letter {  // something written for other blocks that has not arrived
  int from, to;
  u32 at, barrier;
  char* address;
  char bytes[16];
  int count;
};

struct Launch {
  void (*run)(void*);
  void* arguments;
  int blocks, threads, cluster, shared, resident;
  u64 seed;
  bool patient;  // whether a wait that never ends is given up as on a card; else it is an error
};

static Launch launch;
static std::vector<Block> blocks;
static std::vector<Cluster> clusters;
static std::vector<Fiber> fibers;
static std::vector<Letter> letters;
static std::mt19937_64 chance;
static Fiber* me;
static void* scheduler;
static u64 progress, clock_now;
static std::string failure;
static bool failed;
static sigjmp_buf out;

static u64 drawn(u64 below) { return chance() % below; }

// ---- switching ------------------------------------------------------------------------------------

#if defined(__x86_64__) && !defined(UCONTEXT)
extern "C" __attribute__((visibility("hidden"))) void switch_stack(void** left, void* to);
asm(R"(
.text
.p2align 4
switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
static void* prepared(char* top, void (*entry)()) {
  void** at = (void**)(top - 16);
  *at = (void*)entry;  // to which the first switch returns
  return at - 6;
}
#else
#include <ucontext.h>
struct Context { ucontext_t context; };
static void switch_stack(void** left, void* to) {
  Context here;  // lies on the stack that is left
  *left = &here;
  swapcontext(&here.context, &((Context*)to)->context);
}
static void* prepared(char* top, void (*entry)()) {
  Context* c = (Context*)(((uintptr_t)top - sizeof(Context)) & ~(uintptr_t)63);
  getcontext(&c->context);
  c->context.uc_stack.ss_sp = top - 120 * 1024;
  c->context.uc_stack.ss_size = (char*)c - (top - 120 * 1024);
  makecontext(&c->context, entry, 0);
  return c;
}
#endif

static void leave() { switch_stack(&me->stack, scheduler); }

static void fail(const char* format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char* format, ...) {
  char text[400];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  char where[80] = "";
  if (me) snprintf(where, sizeof where, "block %d, thread %d: ", me->block->index, me->thread);
  failure = std::string(where) + text;
  failed = true;
  siglongjmp(out, 1);
}

// Waits until something holds; the scheduler asks, so that nobody is woken in vain.
template <class F> static void until(const char* what, u64 detail, F holds) {
  if (!holds()) {
    me->waits_for = what;
    me->detail = detail;
    me->ready = [](void* f) { return (*(F*)f)(); };
    me->asked = &holds;
    leave();
    me->ready = nullptr;
    me->waits_for = nullptr;
  }
  progress++;
}

static void pause(const char* what, u64 detail) {  // lets others run
  me->waits_for = what;
  me->detail = detail;
  leave();
  me->waits_for = nullptr;
}

// ---- threads that meet ----------------------------------------------------------------------------

static void close_if_all(Meeting& m, int expected) {
  if (m.arrived > 0 && m.arrived >= expected) {
    m.arrived = 0;
    m.any_before = m.any;
    m.any = false;
    m.times++;
    progress++;
  }
}

static void meet(Meeting& m, int expected, const char* what, u64 detail) {
  u64 time = m.times;
  m.arrived++;
  close_if_all(m, expected);
  until(what, detail, [&m, time] { return m.times != time; });
}

extern "C" const Shown& shown_to_warp(const char* what, const u32* words, int count) {
  Warp& w = me->block->warps[me->thread / 32];
  u64 turn = me->collectives++;
  int side = turn & 1;
  if (w.arrived[side] == 0) w.what[side] = what;
  if (strcmp(w.what[side], what)) fail("%s, where others of the warp do %s", what, w.what[side]);
  if (count) memcpy(w.shown[side][me->thread % 32], words, count * 4);
  if (++w.arrived[side] == 32) { w.arrived[side] = 0; w.done[side]++; progress++; }
  u64 times = turn / 2 + 1;
  until(what, 0, [&w, side, times] { return w.done[side] >= times; });
  return w.shown[side];
}

extern "C" void sync_block() { meet(me->block->meeting, me->block->alive, "sync_block", 0); }
extern "C" bool any_of_block(bool v) {
  me->block->meeting.any |= v;
  sync_block();
  return me->block->meeting.any_before;
}
extern "C" void sync_some(int barrier, int threads) {
  if (barrier < 1 || barrier > 15) fail("sync_some(%d, %d): a barrier is 1 to 15", barrier, threads);
  if (threads % 32 || threads > launch.threads) fail("sync_some(%d, %d): whole warps", barrier, threads);
  meet(me->block->some[barrier], threads, "sync_some", barrier);
}
extern "C" void sync_cluster() {
  Cluster& c = *me->block->cluster;
  meet(c.meeting, c.alive, "sync_cluster", 0);
}

// ---- shared memory and its barriers ---------------------------------------------------------------

constexpr u32 FIRST = 1024;  // the address of shared memory's first byte

extern "C" char* shared_memory() { return me->block->memory; }
extern "C" u32 shared_address(const void* p) {
  long at = (const char*)p - me->block->memory;
  if (at < 0 || at >= launch.shared) fail("address %ld of %d bytes of shared memory", at, launch.shared);
  return (FIRST + (u32)at) | (u32)(me->block->index % launch.cluster) << 24;
}
extern "C" u32 in_block(u32 address, u32 rank) {
  if (rank >= (u32)launch.cluster) fail("in_block: rank %u of %d", rank, launch.cluster);
  return (address & 0xffffff) | rank << 24;
}
static Block& owner(u32 address) {
  return blocks[me->block->index / launch.cluster * launch.cluster + (address >> 24)];
}
static Barrier& barrier_at(u32 address, const char* what) {
  Block& b = owner(address);
  auto found = b.barriers.find(address & 0xffffff);
  if (found == b.barriers.end()) fail("%s: no barrier at %u", what, address & 0xffffff);
  return found->second;
}
static void own(u32 address, const char* what) {
  if (&owner(address) != me->block) fail("%s: a barrier of another block", what);
}
extern "C" void barrier_init(u32 address) {
  own(address, "barrier_init");
  if (address % 8) fail("barrier_init: address %u is no multiple of 8", address & 0xffffff);
  me->block->barriers[address & 0xffffff] = Barrier();
}
extern "C" void barrier_fence() {}
extern "C" void barrier_arm(u32 address, u32 bytes) {
  own(address, "barrier_arm");
  Barrier& b = barrier_at(address, "barrier_arm");
  if (b.pending == 0) fail("barrier_arm: armed already, %ld bytes have not come", b.bytes);
  b.bytes += bytes;
  b.pending--;
  b.turn();
  progress++;
}
extern "C" bool barrier_passed(u32 address, u32 parity) {
  own(address, "barrier_passed");
  return (barrier_at(address, "barrier_passed").phase & 1) != (parity & 1);
}

// ---- what goes to other blocks --------------------------------------------------------------------

static void deliver(const Letter& l) {
  if (l.to >= 0 && blocks[l.to].alive == 0) fail("send: block %d has ended", l.to);
  memcpy(l.address, l.bytes, l.count);
  if (l.to >= 0) {
    Barrier& b = blocks[l.to].barriers.at(l.barrier);
    b.bytes -= l.count;
    b.turn();
  }
  progress++;
}

static void post(const Letter& l) {
  if (launch.seed) letters.push_back(l);
  else deliver(l);
  progress++;
}

extern "C" void sent(u32 to, const u32* words, int count, u32 barrier) {
  Block& b = owner(to);
  if (&b != &owner(barrier)) fail("send: to one block, counted by another");
  barrier_at(barrier, "send");
  long at = (long)(to & 0xffffff) - FIRST;
  if (at < 0 || at + 4 * count > launch.shared || at % (4 * count))
    fail("send: %d bytes to byte %ld of %d", 4 * count, at, launch.shared);
  Letter l{me->block->index, b.index, to, barrier & 0xffffff, b.memory + at, {}, 4 * count};
  memcpy(l.bytes, words, l.count);
  post(l);
}

template <class F> static void deliver_where(F chosen) {
  std::vector<Letter> now, later;
  for (auto& l : letters) (chosen(l) ? now : later).push_back(l);
  letters.swap(later);
  for (auto& l : now) deliver(l);
}

extern "C" void loaded(const void* p, void* into, int bytes) {
  int index = me->block->index;
  const char* at = (const char*)p;
  if ((uintptr_t)p % bytes) fail("load of %d bytes from %p", bytes, p);
  if (!letters.empty())  // a block sees what it has written itself
    deliver_where([=](const Letter& l) {
      return l.to < 0 && l.from == index && l.address < at + bytes && at < l.address + l.count;
    });
  memcpy(into, p, bytes);
}

extern "C" void stored(void* p, const void* from, int bytes, bool release) {
  if ((uintptr_t)p % bytes) fail("store of %d bytes to %p", bytes, p);
  int index = me->block->index;
  if (release) deliver_where([=](const Letter& l) { return l.to < 0 && l.from == index; });
  Letter l{index, -1, 0, 0, (char*)p, {}, bytes};
  memcpy(l.bytes, from, bytes);
  post(l);
}

extern "C" u32 added(u32* p, u32 v) {
  u32 before = *p;
  *p += v;
  progress++;
  return before;
}

extern "C" u64 nanoseconds() {
  pause("a wait with patience", 0);
  return clock_now;
}

// ---- running --------------------------------------------------------------------------------------

constexpr size_t STACK = 128 * 1024;
static const size_t PAGE = sysconf(_SC_PAGESIZE);

static char* reserved(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail("no memory for %zu bytes", bytes);
  return (char*)p;
}

static char* stacks;
static size_t stack_count;

static void make_stacks(size_t count) {  // each with a page below that nobody may touch
  if (count <= stack_count) return;
  if (stacks) munmap(stacks, stack_count * STACK);
  stacks = reserved(count * STACK);
  stack_count = count;
  for (size_t i = 0; i < count; i++) mprotect(stacks + i * STACK, PAGE, PROT_NONE);
}

static size_t shared_pages() { return (launch.shared + PAGE - 1) / PAGE * PAGE; }

static char* make_shared() {
  char* all = reserved(shared_pages() + 2 * PAGE);
  mprotect(all, PAGE, PROT_NONE);
  mprotect(all + PAGE + shared_pages(), PAGE, PROT_NONE);
  memset(all + PAGE, 0xff, shared_pages());  // NaN, whatever it is read as
  return all + PAGE + shared_pages() - launch.shared;
}

static void free_shared(Block& b) {
  if (b.memory) munmap(b.memory + launch.shared - shared_pages() - PAGE, shared_pages() + 2 * PAGE);
  b.memory = nullptr;
}

static void enter() {
  launch.run(launch.arguments);
  me->done = true;
  Block& b = *me->block;
  b.alive--;
  b.cluster->alive--;
  close_if_all(b.meeting, b.alive);
  close_if_all(b.cluster->meeting, b.cluster->alive);
  progress++;
  leave();
}

static void start(int cluster, std::vector<int>& slots) {
  Cluster& c = clusters[cluster];
  c.alive = launch.cluster * launch.threads;
  for (int k = 0; k < launch.cluster; k++) {
    Block& b = blocks[cluster * launch.cluster + k];
    b.index = cluster * launch.cluster + k;
    b.cluster = &c;
    b.alive = launch.threads;
    b.warps.resize(launch.threads / 32);
    b.memory = make_shared();
    int slot = slots.back();
    slots.pop_back();
    for (int t = 0; t < launch.threads; t++) {
      Fiber& f = fibers[slot * launch.threads + t];
      f = Fiber();
      f.block = &b;
      f.thread = t;
      f.stack = prepared(stacks + ((size_t)slot * launch.threads + t + 1) * STACK, enter);
    }
  }
}

static void resume(Fiber& f) {
  if (f.done || !f.block || (f.ready && !f.ready(f.asked))) return;
  me = &f;
  threadIdx = {(u32)f.thread, 0, 0};
  blockIdx = {(u32)f.block->index, 0, 0};
  switch_stack(&scheduler, f.stack);
  me = nullptr;
}

static std::string who_waits() {  // threads of a block that wait for the same, together
  std::map<std::tuple<int, std::string, u64>, std::vector<int>> groups;
  for (auto& f : fibers)
    if (f.block && !f.done)
      groups[{f.block->index, f.waits_for ? f.waits_for : "nothing", f.detail}].push_back(f.thread);
  std::string text = "nobody can go on";
  int shown = 0;
  for (auto& [key, threads] : groups) {
    if (++shown > 20) { text += "\n  ..."; break; }
    auto& [block, what, detail] = key;
    text += "\n  block " + std::to_string(block) + ", threads";
    for (size_t i = 0; i < threads.size(); i++) {
      size_t j = i;
      while (j + 1 < threads.size() && threads[j + 1] == threads[j] + 1) j++;
      text += " " + std::to_string(threads[i]) + (j > i ? "-" + std::to_string(threads[j]) : "");
      i = j;
    }
    text += ": " + what + (detail ? " " + std::to_string(detail) : "");
  }
  return text;
}

static void run_all() {
  int count = launch.blocks / launch.cluster, room = std::min(count, launch.resident);
  blocks.assign(launch.blocks, Block());
  clusters.assign(count, Cluster());
  fibers.assign((size_t)room * launch.cluster * launch.threads, Fiber());
  letters.clear();
  make_stacks(fibers.size());
  std::vector<int> order(count), slots(room * launch.cluster), warps(fibers.size() / 32);
  for (int i = 0; i < count; i++) order[i] = count - 1 - i;
  for (size_t i = 0; i < slots.size(); i++) slots[i] = slots.size() - 1 - i;
  for (size_t i = 0; i < warps.size(); i++) warps[i] = i;
  if (launch.seed) std::shuffle(order.begin(), order.end(), chance);
  std::vector<int> running;
  for (int idle = 0; !order.empty() || !running.empty();) {
    u64 before = progress;
    while ((int)running.size() < room && !order.empty()) {
      start(order.back(), slots);
      running.push_back(order.back());
      order.pop_back();
    }
    if (launch.seed) std::shuffle(warps.begin(), warps.end(), chance);
    for (int w : warps) {
      u64 from = launch.seed ? drawn(32) : 0, back = launch.seed ? drawn(2) * 31 : 0;
      for (u64 l = 0; l < 32; l++) resume(fibers[w * 32 + (((from + l) & 31) ^ back)]);
    }
    if (!letters.empty()) {
      bool all = progress == before;
      deliver_where([=](const Letter&) { return all || drawn(4) == 0; });
    }
    for (size_t i = 0; i < running.size();) {
      int c = running[i];
      if (clusters[c].alive) { i++; continue; }
      for (int k = 0; k < launch.cluster; k++) {
        Block& b = blocks[c * launch.cluster + k];
        for (size_t f = 0; f < fibers.size(); f += launch.threads)
          if (fibers[f].block == &b) {
            slots.push_back(f / launch.threads);
            for (int t = 0; t < launch.threads; t++) fibers[f + t].block = nullptr;
          }
        free_shared(b);
      }
      running[i] = running.back();
      running.pop_back();
      progress++;
    }
    clock_now += 1000;
    if (progress != before) { idle = 0; continue; }
    if (++idle < 3) continue;
    if (launch.patient && idle < 6) { clock_now += 20000000000ull; continue; }
    me = nullptr;
    fail("%s", who_waits().substr(0, 380).c_str());
  }
}

static void on_fault(int, siginfo_t* info, void*) {
  const char* at = (const char*)info->si_addr;
  if (me && me->block->memory) {
    long offset = at - me->block->memory;
    if (offset > -100000 && offset < launch.shared + 100000)
      fail("byte %ld of %d bytes of shared memory", offset, launch.shared);
  }
  if (me) fail("an address that is not there: %p", (const void*)at);
  fail("an address that is not there: %p", (const void*)at);
}

// Runs a kernel; what went wrong, or null.
extern "C" const char* emulate(const Launch* what) {
  static char own_stack[64 * 1024];
  launch = *what;
  chance.seed(launch.seed);
  clock_now = 1000;
  failed = false;
  me = nullptr;
  blockDim = {(u32)launch.threads, 1, 1};
  gridDim = {(u32)launch.blocks, 1, 1};
  stack_t alternative{}, before{};
  alternative.ss_sp = own_stack;
  alternative.ss_size = sizeof own_stack;
  sigaltstack(&alternative, &before);
  struct sigaction action{}, segv, bus;
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  if (!sigsetjmp(out, 1)) run_all();
  sigaction(SIGSEGV, &segv, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  sigaltstack(&before, nullptr);
  for (auto& b : blocks) free_shared(b);
  return failed ? failure.c_str() : nullptr;
}
