// Flights: one loader for a key at a time (get_or_load), within this process.
//
// This is waiting by design, so it is the one place of the engine with mutexes and condition variables: 16 groups of
// keys, each with its list of loads under way. No get or set comes here; get_or_load does after a miss.
#ifndef TERN_ENGINE_FLIGHTS_H_
#define TERN_ENGINE_FLIGHTS_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string_view>

#include <tern/value.h>

namespace tern::detail {

class Flights {
 public:
  static constexpr unsigned kGroups = 16;

  // A load under way; lives on its leader's stack until the last follower has left.
  struct Flight {
    std::string_view key;
    std::uint64_t hash = 0;
    Flight* next = nullptr;
    unsigned followers = 0;
    bool landed = false;
    Status status = Status::kOk;
    std::string_view value;
  };

  // True: the caller leads, `own` is entered, and land() must follow. False: another's load was followed to its end,
  // unless `wait` is false; then nothing was done. `status` and `out` are its result (out_of_memory if it could not
  // be copied).
  bool lead_or_follow(Flight& own, bool wait, Status& status, Value& out) noexcept {
    Group& g = group(own.hash);
    std::unique_lock<std::mutex> lock(g.mutex);
    for (Flight* f = g.first; f != nullptr; f = f->next) {
      if (f->hash != own.hash || f->key != own.key || f->landed) continue;
      if (!wait) return false;
      ++f->followers;
      while (!f->landed) g.landed.wait(lock);
      status = f->status;
      if (status == Status::kOk && !out.assign(f->value)) status = Status::kOutOfMemory;
      if (--f->followers == 0) g.landed.notify_all();
      return false;
    }
    own.next = g.first;
    g.first = &own;
    return true;
  }

  // The leader's result; returns when nobody looks at `own` or `value` any more.
  void land(Flight& own, Status status, std::string_view value) noexcept {
    Group& g = group(own.hash);
    std::unique_lock<std::mutex> lock(g.mutex);
    own.landed = true;
    own.status = status;
    own.value = value;
    g.landed.notify_all();
    while (own.followers != 0) g.landed.wait(lock);
    for (Flight** at = &g.first; *at != nullptr; at = &(*at)->next) {
      if (*at == &own) {
        *at = own.next;
        break;
      }
    }
  }

 private:
  struct Group {
    std::mutex mutex;
    std::condition_variable landed;
    Flight* first = nullptr;
  };
  Group& group(std::uint64_t hash) noexcept { return groups_[hash >> 20 & (kGroups - 1)]; }

  Group groups_[kGroups];
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_FLIGHTS_H_
