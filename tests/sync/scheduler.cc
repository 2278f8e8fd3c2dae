#include "tests/sync/scheduler.h"

#include <cstdio>
#include <cstdlib>

#include "tests/sync/execution.h"

namespace tern::concurrency {

constinit thread_local Scheduler* t_scheduler = nullptr;
constinit thread_local Scheduler* t_exploration = nullptr;
constinit thread_local std::uint64_t t_schedules = 0;

namespace {

const char* op_name(Op op) {
  static constexpr const char* kNames[] = {
      "load", "store", "exchange", "cas",        "cas failed",  "add",   "sub",    "and", "or",
      "xor",  "point", "yield",    "plain read", "plain write", "start", "freeze", "note"};
  return kNames[static_cast<unsigned>(op)];
}

const char* order_name(std::uint8_t order) {
  static constexpr const char* kNames[] = {"relaxed", "consume", "acquire",
                                           "release", "acq_rel", "seq_cst"};
  return order < 6 ? kNames[order] : "";
}

}  // namespace

void print_event(const Event& e) {
  if (e.name != nullptr) {
    std::fprintf(stderr, "    thread %d  %-11s %s\n", e.thread, op_name(e.op), e.name);
  } else {
    std::fprintf(stderr, "    thread %d  %-11s %p = %#llx %s\n", e.thread, op_name(e.op), e.address,
                 static_cast<unsigned long long>(e.value), order_name(e.order));
  }
}

void step(const void* address) noexcept {
  if (Scheduler* s = t_scheduler) s->on_step(address);
}

void record_event(Op op, const void* address, std::uint64_t value, std::uint8_t order) noexcept {
  if (Scheduler* s = t_scheduler) {
    s->record({address, value, nullptr, op, order, static_cast<std::int8_t>(s->current())});
  }
}

void named_point(const char* name) noexcept {
  if (Scheduler* s = t_scheduler) s->on_named_point(name);
}

void yield() noexcept {
  if (Scheduler* s = t_scheduler) s->on_yield();
}

unsigned choose(unsigned count) noexcept {
  Scheduler* s = t_scheduler;
  return s == nullptr ? 0 : s->on_choose(count);
}

bool weak_cas_may_fail() noexcept {
  Scheduler* s = t_scheduler;
  return s != nullptr && s->options().weak_cas_fails;
}

void fail(std::string_view what) {
  if (Scheduler* s = t_exploration) {
    s->on_fail(what);
    return;
  }
  std::fprintf(stderr, "[tern] failure outside of an exploration: %.*s\n",
               static_cast<int>(what.size()), what.data());
  std::abort();
}

int current_thread() noexcept {
  Scheduler* s = t_scheduler;
  return s == nullptr ? -1 : s->current();
}

int thread_count() noexcept {
  Scheduler* s = t_exploration;
  return s == nullptr ? 0 : s->count();
}

unsigned frozen_threads() noexcept {
  Scheduler* s = t_exploration;
  return s == nullptr ? 0 : s->frozen();
}

std::uint64_t schedule_number() noexcept {
  Scheduler* s = t_exploration;
  return s == nullptr ? 0 : s->number();
}

}  // namespace tern::concurrency
