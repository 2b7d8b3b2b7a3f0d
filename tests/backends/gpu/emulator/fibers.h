// Stacks that are switched between: a thread of the kernel runs on each. UCONTEXT chooses the
// portable way, which takes two calls of the system for each switch.
#pragma once

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

constexpr size_t STACK = 128 * 1024;

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

// A stack that begins with a function which never returns.
static void* prepared(char* stack, void (*entry)()) {
  void** at = (void**)(stack + STACK - 16);
  *at = (void*)entry;  // where the first switch returns to
  return at - 6;       // with six registers that mean nothing
}

#else

#include <ucontext.h>

static void switch_stack(void** left, void* to) {
  ucontext_t here;  // lies on the stack that is left
  *left = &here;
  swapcontext(&here, (ucontext_t*)to);
}

static void* prepared(char* stack, void (*entry)()) {
  ucontext_t* c = (ucontext_t*)(stack + STACK - (sizeof(ucontext_t) + 63) / 64 * 64);
  getcontext(c);
  c->uc_stack.ss_sp = stack;
  c->uc_stack.ss_size = (char*)c - stack;
  makecontext(c, entry, 0);
  return c;
}

#endif

// ---- switching, said to the address sanitizer if it is there --------------------------------------

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
static void before_switch(void** mine, const void* stack, size_t size) {
  __sanitizer_start_switch_fiber(mine, stack, size);
}
static void after_switch(void* mine, const void** stack = nullptr, size_t* size = nullptr) {
  __sanitizer_finish_switch_fiber(mine, stack, size);
}
static void forget_stack(char* stack) { __asan_unpoison_memory_region(stack, STACK); }
#else
static void before_switch(void**, const void*, size_t) {}
static void after_switch(void*, const void** = nullptr, size_t* = nullptr) {}
static void forget_stack(char*) {}
#endif

// The stack of the scheduler, which fibers go back to.
struct Home {
  void* at = nullptr;
  const void* stack = nullptr;
  size_t size = 0;

  void go_out(char* stack_of_fiber, void* to) {
    void* mine = nullptr;
    before_switch(&mine, stack_of_fiber, STACK);
    switch_stack(&at, to);
    after_switch(mine);
  }
  void arrived() { after_switch(nullptr, &stack, &size); }  // on a stack that is new
  void go_back(void** left) {
    void* mine = nullptr;
    before_switch(&mine, stack, size);
    switch_stack(left, at);
    after_switch(mine);
  }
  void before_jump() { before_switch(nullptr, stack, size); }  // which leaves a stack for ever
  void after_jump() { after_switch(nullptr); }
};

// ---- memory ---------------------------------------------------------------------------------------

// Memory of whole pages, or null; it costs nothing until it is written.
static char* reserved(size_t bytes) {
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind, -1, 0);
  return p == MAP_FAILED ? nullptr : (char*)p;
}

static size_t page() {
  static const size_t size = sysconf(_SC_PAGESIZE);
  return size;
}

// The stacks of a launch, each with a page below it that nobody may touch; kept for the next one.
struct Stacks {
  char* memory = nullptr;
  size_t count = 0;

  bool grow(size_t wanted) {
    if (wanted <= count) return true;
    for (size_t i = 0; i < count; i++) forget_stack(memory + i * STACK);
    if (memory) munmap(memory, count * STACK);
    memory = reserved(wanted * STACK);
    count = memory ? wanted : 0;
    for (size_t i = 0; i < count; i++) mprotect(memory + i * STACK, page(), PROT_NONE);
    return memory;
  }
  char* operator[](size_t i) { return memory + i * STACK; }
};

// Memory that ends, up to 15 bytes, where a page begins that nobody may touch; another lies before it.
struct Guarded {
  char* begin = nullptr;
  size_t bytes;

  explicit Guarded(size_t size) : bytes((size + 15) / 16 * 16) {
    char* all = reserved(pages() + 2 * page());
    if (!all) return;
    mprotect(all, page(), PROT_NONE);
    mprotect(all + page() + pages(), page(), PROT_NONE);
    begin = all + page() + pages() - bytes;
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() {
    if (begin) munmap(begin + bytes - pages() - page(), pages() + 2 * page());
  }
  size_t pages() const { return (bytes + page() - 1) / page() * page(); }
};
