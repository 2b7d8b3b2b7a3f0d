// What there is while a kernel runs: threads, blocks, clusters, and what is under way between them.
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fibers.h"

using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int WORDS = 6;  // that a lane shows to the others at most
using Shown = u32[32][WORDS];
struct Dimensions { u32 x, y, z; };
extern "C" { Dimensions threadIdx, blockIdx, blockDim, gridDim; }

// ---- what there is --------------------------------------------------------------------------------

struct Launch {
  void (*run)(void*);
  void* arguments;
  int blocks, threads, cluster, shared, resident;
  u64 seed;      // of orders and delays; 0 for none
  bool patient;  // whether waits that never end are given up as on a card; else they are an error
  int silent;    // a block of which nothing arrives anywhere; or -1
};

struct Meeting {  // of threads that wait until all have come
  int arrived = 0;
  u64 times = 0;
};

struct Warp {  // what lanes show each other, in two places in turn
  Shown shown[2];
  const char* what[2] = {};
  int arrived[2] = {};
  u64 done[2] = {};
};

struct Barrier {  // an mbarrier of one arrival a phase
  int pending = 1;
  long bytes = 0;  // that have still to come
  u32 phase = 0;
};

struct Cluster {
  int alive = 0;  // threads that have not ended
  Meeting meeting;
};

struct Block {
  int index = 0, alive = 0;
  Cluster* cluster = nullptr;
  std::unique_ptr<Guarded> shared;
  Meeting meeting, some[16];
  std::vector<Warp> warps;
  std::map<u32, Barrier> barriers;
};

struct Fiber {
  Block* block = nullptr;
  int thread = 0;
  void* stack = nullptr;
  bool done = false;
  const char* waits_for = nullptr;
  long detail = -1;  // which of them, if there are several
  bool (*ready)(void*) = nullptr;  // whether it can go on, asked of what it waits for
  void* asked = nullptr;
  u64 collectives = 0;
  u64 polls = 0;
};

constexpr u32 UNCOUNTED = ~0u;
struct Letter {
  int from, to;  // blocks; to -1 for memory of all
  char* address;
  char bytes[16];
  int count;
  u32 barrier = UNCOUNTED;  // of the block, which counts it
  bool meets(const char* at, int size) const { return address < at + size && at < address + count; }
};

static Launch launch;
static std::vector<Block> blocks;
static std::vector<Cluster> clusters;
static std::vector<Fiber> fibers;
static std::vector<Letter> letters;
static std::mt19937_64 chance;
static Fiber* me;
static Home home;
static u64 progress, time_now;

static u64 drawn(u64 below) { return chance() % below; }

[[noreturn]] static void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
