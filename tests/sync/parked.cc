#include "tests/sync/parked.h"

namespace tern::concurrency {
namespace {

constinit thread_local Parking::Role* t_role = nullptr;

}  // namespace

Parking::Role::Role(Parking& parking, int role) : parking_(parking), role_(role), outer_(t_role) {
  parking_.enter(role_);
  t_role = this;
}

Parking::Role::~Role() {
  t_role = outer_;
  parking_.leave(role_);
}

Parking::~Parking() {
  release();
  wait_until_idle();
}

void Parking::arm(int role, std::string point, unsigned occurrence) {
  const std::scoped_lock lock(mutex_);
  rules_[role] = {std::move(point), occurrence};
  ended_.erase(role);
}

bool Parking::wait(int role) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return parked_.contains(role) || ended_.contains(role); });
  return parked_.contains(role);
}

bool Parking::is_parked(int role) const {
  const std::scoped_lock lock(mutex_);
  return parked_.contains(role);
}

void Parking::release() {
  const std::scoped_lock lock(mutex_);
  released_ = true;
  rules_.clear();
  changed_.notify_all();
}

void Parking::wait_until_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return active_ == 0; });
}

std::vector<std::string> Parking::seen() const {
  const std::scoped_lock lock(mutex_);
  return {seen_.begin(), seen_.end()};
}

void Parking::hook(const char* point) {
  if (Role* role = t_role) role->parking_.pass(role->role_, point);
}

void Parking::pass(int role, std::string_view point) {
  std::unique_lock lock(mutex_);
  if (!seen_.contains(point)) seen_.emplace(point);
  const auto rule = rules_.find(role);
  if (rule == rules_.end() || rule->second.point != point || rule->second.left == 0) return;
  if (--rule->second.left != 0) return;
  parked_.insert(role);
  changed_.notify_all();
  changed_.wait(lock, [&] { return released_; });
  parked_.erase(role);
}

void Parking::enter(int role) {
  const std::scoped_lock lock(mutex_);
  ++active_;
  ended_.erase(role);
}

void Parking::leave(int role) {
  const std::scoped_lock lock(mutex_);
  --active_;
  ended_.insert(role);
  changed_.notify_all();
}

}  // namespace tern::concurrency
