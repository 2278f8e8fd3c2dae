#include "tests/sync/fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define TERN_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERN_FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TERN_FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TERN_FIBER_TSAN 1
#endif
#endif

#ifdef TERN_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef TERN_FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__) && defined(__linux__)
// Saves the registers that the calling convention protects, swaps stacks, restores them. The
// floating point control words are left alone: no test changes them.
extern "C" void tern_fiber_switch(void** save, void* load);
extern "C" void tern_fiber_start();
asm(R"(
.text
.p2align 4
.globl tern_fiber_switch
.hidden tern_fiber_switch
.type tern_fiber_switch,@function
tern_fiber_switch:
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
.size tern_fiber_switch,.-tern_fiber_switch
.globl tern_fiber_start
.hidden tern_fiber_start
.type tern_fiber_start,@function
tern_fiber_start:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  callq *%r13
  ud2
  .cfi_endproc
.size tern_fiber_start,.-tern_fiber_start
)");
#define TERN_FIBER_ASM 1
#elif defined(__aarch64__) && defined(__linux__)
extern "C" void tern_fiber_switch(void** save, void* load);
extern "C" void tern_fiber_start();
asm(R"(
.text
.p2align 4
.globl tern_fiber_switch
.hidden tern_fiber_switch
.type tern_fiber_switch,%function
tern_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size tern_fiber_switch,.-tern_fiber_switch
.globl tern_fiber_start
.hidden tern_fiber_start
.type tern_fiber_start,%function
tern_fiber_start:
  .cfi_startproc
  .cfi_undefined x30
  mov x0, x19
  blr x20
  brk #1
  .cfi_endproc
.size tern_fiber_start,.-tern_fiber_start
)");
#define TERN_FIBER_ASM 1
#else
#include <ucontext.h>
#endif

namespace tern::concurrency {
namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

Fiber::Fiber() {
#ifdef TERN_FIBER_ASAN
  // AddressSanitizer wants the bounds of the stack that a switch goes to, this one's included.
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) die("pthread_getattr_np");
  void* bottom = nullptr;
  pthread_attr_getstack(&attributes, &bottom, &stack_size_);
  stack_bottom_ = bottom;
  pthread_attr_destroy(&attributes);
#endif
#ifdef TERN_FIBER_TSAN
  tsan_fiber_ = __tsan_get_current_fiber();
#endif
#ifndef TERN_FIBER_ASM
  context_ = new ucontext_t;
#endif
}

Fiber::Fiber(std::size_t stack_size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  stack_size_ = (stack_size + page - 1) / page * page;
  mapping_size_ = stack_size_ + page;
  void* memory = mmap(nullptr, mapping_size_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) die("mmap of a fiber stack");
  mapping_ = static_cast<char*>(memory);
  if (mprotect(mapping_, page, PROT_NONE) != 0) die("mprotect of a guard page");
  stack_bottom_ = mapping_ + page;
#ifdef TERN_FIBER_TSAN
  tsan_fiber_ = __tsan_create_fiber(0);
#endif
#ifndef TERN_FIBER_ASM
  context_ = new ucontext_t;
#endif
}

Fiber::~Fiber() {
#ifndef TERN_FIBER_ASM
  delete static_cast<ucontext_t*>(context_);
#endif
  if (mapping_ == nullptr) return;
#ifdef TERN_FIBER_TSAN
  __tsan_destroy_fiber(tsan_fiber_);
#endif
#ifdef TERN_FIBER_ASAN
  __asan_unpoison_memory_region(stack_bottom_, stack_size_);
#endif
  munmap(mapping_, mapping_size_);
}

void Fiber::start(void* self) {
  auto* fiber = static_cast<Fiber*>(self);
#ifdef TERN_FIBER_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  fiber->entry_(fiber->argument_);
  std::abort();
}

void Fiber::reset(Entry entry, void* argument) {
  entry_ = entry;
  argument_ = argument;
  fake_stack_ = nullptr;
#ifdef TERN_FIBER_ASAN
  // Red zones of the abandoned frames are still marked.
  __asan_unpoison_memory_region(stack_bottom_, stack_size_);
#endif
#ifdef TERN_FIBER_TSAN
  __tsan_destroy_fiber(tsan_fiber_);
  tsan_fiber_ = __tsan_create_fiber(0);
#endif
#if defined(TERN_FIBER_ASM)
  auto top = reinterpret_cast<std::uintptr_t>(stack_bottom_) + stack_size_;
  top = (top - 64) & ~std::uintptr_t{15};
#if defined(__x86_64__)
  // r15 r14 r13 r12 rbx rbp, return address: after the return the stack pointer is `top` again,
  // 16-aligned as a call wants it.
  auto* frame = reinterpret_cast<std::uintptr_t*>(top) - 7;
  for (int i = 0; i < 7; ++i) frame[i] = 0;
  frame[2] = reinterpret_cast<std::uintptr_t>(&Fiber::start);  // r13
  frame[3] = reinterpret_cast<std::uintptr_t>(this);           // r12
  frame[6] = reinterpret_cast<std::uintptr_t>(&tern_fiber_start);
#else
  auto* frame = reinterpret_cast<std::uintptr_t*>(top) - 20;
  for (int i = 0; i < 20; ++i) frame[i] = 0;
  frame[0] = reinterpret_cast<std::uintptr_t>(this);                // x19
  frame[1] = reinterpret_cast<std::uintptr_t>(&Fiber::start);       // x20
  frame[11] = reinterpret_cast<std::uintptr_t>(&tern_fiber_start);  // x30
#endif
  context_ = frame;
#else
  auto* context = static_cast<ucontext_t*>(context_);
  if (getcontext(context) != 0) die("getcontext");
  context->uc_stack.ss_sp = const_cast<void*>(stack_bottom_);
  context->uc_stack.ss_size = stack_size_;
  context->uc_link = nullptr;
  // makecontext passes ints: the pointer travels in two halves.
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  auto* entry_point = +[](unsigned high, unsigned low) {
    Fiber::start(reinterpret_cast<void*>((std::uintptr_t{high} << 32) | low));
  };
  makecontext(context, reinterpret_cast<void (*)()>(entry_point), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
#endif
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
#ifdef TERN_FIBER_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_bottom_, to.stack_size_);
#endif
#ifdef TERN_FIBER_TSAN
  __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
#ifdef TERN_FIBER_ASM
  tern_fiber_switch(&from.context_, to.context_);
#else
  swapcontext(static_cast<ucontext_t*>(from.context_), static_cast<ucontext_t*>(to.context_));
#endif
#ifdef TERN_FIBER_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace tern::concurrency
