// What threads of a kernel do with each other: the functions that primitives_emulated.h names.
#pragma once

#include "state.h"

// ---- waiting --------------------------------------------------------------------------------------

// Until something holds. The scheduler asks, so that nobody is woken in vain.
template <class F>
static void until(const char* what, long detail, F holds) {
  if (!holds()) {
    me->waits_for = what;
    me->detail = detail;
    me->asked = &holds;
    me->ready = [](void* f) { return (*(F*)f)(); };
    home.go_back(&me->stack);
    me->ready = nullptr;
    me->waits_for = nullptr;
  }
  progress++;
}

// Lets others run; what was looked at last is what a poll waits for.
static void rest() {
  me->polls = 0;
  home.go_back(&me->stack);
}

static void look(const char* what, long detail) {
  me->waits_for = what;
  me->detail = detail;
  if (++me->polls >= 256 || (launch.seed && drawn(8) == 0)) rest();
}

static void close_if_all(Meeting& m, int expected) {
  if (m.arrived == 0 || m.arrived < expected) return;
  m.arrived = 0;
  m.times++;
  progress++;
}

static void meet(Meeting& m, int expected, const char* what, long detail = -1) {
  const u64 time = m.times;
  m.arrived++;
  close_if_all(m, expected);
  until(what, detail, [&m, time] { return m.times != time; });
}

extern "C" const Shown& shown_to_warp(const char* what, const u32* words, int count) {
  Warp& w = me->block->warps[me->thread / 32];
  const u64 turn = me->collectives++, times = turn / 2 + 1;
  const int side = turn % 2;
  if (w.arrived[side] == 0) w.what[side] = what;
  if (strcmp(w.what[side], what)) fail("%s, where others of the warp do %s", what, w.what[side]);
  if (count) memcpy(w.shown[side][me->thread % 32], words, count * 4);
  if (++w.arrived[side] == 32) {
    w.arrived[side] = 0;
    w.done[side]++;
  }
  until(what, -1, [&w, side, times] { return w.done[side] >= times; });
  return w.shown[side];
}

extern "C" void sync_block() { meet(me->block->meeting, me->block->alive, "sync_block"); }
extern "C" void sync_some(int barrier, int threads) {
  if (barrier < 1 || barrier > 15) fail("sync_some(%d, %d): barriers are 1 to 15", barrier, threads);
  if (threads % 32 || threads < 32 || threads > launch.threads)
    fail("sync_some(%d, %d): these are no whole warps of a block", barrier, threads);
  meet(me->block->some[barrier], threads, "sync_some", barrier);
}

// ---- shared memory and its barriers: an address is a block's rank, and a byte ---------------------

constexpr u32 FIRST = 1024, BYTE = 0xffffff;

extern "C" char* shared_memory() { return me->block->shared->begin; }

extern "C" u32 shared_address(const void* p) {
  const long at = (const char*)p - shared_memory();
  if (at < 0 || at >= launch.shared) fail("byte %ld of %d of shared memory", at, launch.shared);
  return (FIRST + (u32)at) | (u32)(me->block->index % launch.cluster) << 24;
}

extern "C" u32 in_block(u32 address, u32 rank) {
  if (rank >= (u32)launch.cluster) fail("in_block: rank %u in a cluster of %d", rank, launch.cluster);
  return (address & BYTE) | rank << 24;
}

static int byte_of(u32 address) { return (int)(address & BYTE) - (int)FIRST; }
static Block& owner(u32 address) {
  return blocks[me->block->index / launch.cluster * launch.cluster + (address >> 24)];
}

static Barrier& barrier_at(Block& b, u32 byte, const char* what) {
  auto found = b.barriers.find(byte);
  if (found == b.barriers.end()) fail("%s: no barrier at byte %u of shared memory", what, byte);
  return found->second;
}

static Barrier& own_barrier(u32 address, const char* what) {
  if (&owner(address) != me->block) fail("%s: a barrier of another block", what);
  return barrier_at(*me->block, byte_of(address), what);
}

static void end_if_complete(Barrier& b) {
  if (b.pending > 0 || b.bytes != 0) return;
  b.phase++;
  b.pending = 1;
  progress++;
}

extern "C" void barrier_init(u32 address) {
  if (&owner(address) != me->block) fail("barrier_init: in another block");
  if (byte_of(address) % 8) fail("barrier_init: byte %d is no multiple of 8", byte_of(address));
  me->block->barriers[byte_of(address)] = Barrier();
}

extern "C" void barrier_fence() {}

extern "C" void barrier_arm(u32 address, u32 bytes) {
  Barrier& b = own_barrier(address, "barrier_arm");
  if (b.pending == 0) fail("barrier_arm: armed already, %ld bytes have not come", b.bytes);
  b.bytes += bytes;
  b.pending--;
  end_if_complete(b);
  progress++;
}

extern "C" bool barrier_passed(u32 address, u32 parity) {
  const bool passed = own_barrier(address, "barrier_passed").phase % 2 != parity % 2;
  if (!passed) look("barrier_passed at byte", byte_of(address));
  return passed;
}

// ---- what goes to other blocks --------------------------------------------------------------------

static void deliver(const Letter& l) {
  if (l.to >= 0 && blocks[l.to].alive == 0) fail("send: block %d has ended", l.to);
  memcpy(l.address, l.bytes, l.count);
  if (l.barrier != UNCOUNTED) {
    Barrier& b = barrier_at(blocks[l.to], l.barrier, "send");
    b.bytes -= l.count;
    end_if_complete(b);
  }
  progress++;
}

template <class F>
static void deliver_those(F chosen) {
  std::vector<Letter> now, later;
  for (auto& l : letters) (chosen(l) ? now : later).push_back(l);
  letters.swap(later);
  for (auto& l : now) deliver(l);
}

// A block sees what it has written itself, and writes to one place in order.
static void deliver_own(const char* at, int size) {
  const int own = me->block->index;
  if (!letters.empty())
    deliver_those([=](const Letter& l) { return l.from == own && l.meets(at, size); });
}

static void post(Letter l, const void* bytes) {
  if (l.from == launch.silent) return;
  deliver_own(l.address, l.count);
  memcpy(l.bytes, bytes, l.count);
  launch.seed ? letters.push_back(l) : deliver(l);
  progress++;
}

// Where words go in another block.
static Letter letter_to(u32 address, int bytes, const char* what) {
  Block& b = owner(address);
  const int at = byte_of(address);
  if (at < 0 || at + bytes > launch.shared || at % bytes)
    fail("%s: %d bytes to byte %d of %d of shared memory", what, bytes, at, launch.shared);
  if (b.alive == 0) fail("%s: block %d has ended, or not begun", what, b.index);
  return {me->block->index, b.index, b.shared->begin + at, {}, bytes};
}

extern "C" void sent(u32 to, const u32* words, u32 barrier) {
  if (&owner(to) != &owner(barrier)) fail("send: to one block, counted by another");
  Letter l = letter_to(to, 16, "send");
  l.barrier = byte_of(barrier);
  barrier_at(owner(to), l.barrier, "send");
  post(l, words);
}

extern "C" void store_in(u32 to, float v) {
  const Letter l = letter_to(to, 4, "store_in");
  if (l.from == l.to)
    memcpy(l.address, &v, 4);
  else
    post(l, &v);
}

extern "C" void sync_cluster() {
  const int own = me->block->index;  // what it has stored in others is there for whoever meets it
  deliver_those([=](const Letter& l) { return l.from == own && l.barrier == UNCOUNTED; });
  meet(me->block->cluster->meeting, me->block->cluster->alive, "sync_cluster");
}

extern "C" void loaded(const void* p, void* into, int bytes) {
  if ((uintptr_t)p % bytes) fail("a load of %d bytes from %p", bytes, p);
  look("what another block stores at", (long)p);
  deliver_own((const char*)p, bytes);
  memcpy(into, p, bytes);
}

extern "C" void stored(void* p, const void* from, int bytes) {
  if ((uintptr_t)p % bytes) fail("a store of %d bytes to %p", bytes, p);
  post({me->block->index, -1, (char*)p, {}, bytes}, from);
}

extern "C" u64 nanoseconds() {
  rest();
  return time_now;
}
