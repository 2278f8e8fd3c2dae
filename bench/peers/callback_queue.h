// A cache as people build it when changes are to be told: a map and a queue of events behind one mutex, and somebody who takes
// events out and calls back. A fair one: the queue is intrusive, all of it is made beforehand, and nothing is allocated under the lock.
#ifndef TERN_BENCH_PEERS_CALLBACK_QUEUE_H_
#define TERN_BENCH_PEERS_CALLBACK_QUEUE_H_

#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/peers/hash.h"

namespace tern::bench {

class CallbackQueue {
 public:
  using Callback = std::function<void(std::string_view key, std::string_view value)>;
  static constexpr std::size_t kKeyBytes = 24;
  static constexpr std::size_t kValueBytes = 64;

  CallbackQueue(std::size_t keys, std::size_t events, Callback callback) : nodes_(events), callback_(std::move(callback)) {
    map_.reserve(keys);
    for (Node& n : nodes_) {
      n.next = free_;
      free_ = &n;
    }
  }

  // Key and value of up to kKeyBytes and kValueBytes. An event for which there is no room is counted as lost.
  void set(std::string_view key, std::string_view value) {
    const std::lock_guard lock(mutex_);
    if (const auto at = map_.find(key); at != map_.end()) {
      at->second.assign(value);
    } else {
      map_.emplace(key, value);
    }
    Node* n = free_;
    if (n == nullptr) {
      ++lost_;
      return;
    }
    free_ = n->next;
    n->key_size = static_cast<std::uint8_t>(key.size());
    n->value_size = static_cast<std::uint8_t>(value.size());
    std::memcpy(n->key, key.data(), key.size());
    std::memcpy(n->value, value.data(), value.size());
    n->next = nullptr;
    (last_ != nullptr ? last_->next : first_) = n;
    last_ = n;
  }

  // Takes up to `at_once` events out under the lock, and calls back without it. How many.
  std::size_t poll(std::size_t at_once) {
    Node* batch;
    Node* end;
    std::size_t n = 0;
    {
      const std::lock_guard lock(mutex_);
      give_back();
      batch = end = first_;
      if (batch == nullptr) return 0;
      for (n = 1; n != at_once && end->next != nullptr; ++n) end = end->next;
      first_ = end->next;
      if (first_ == nullptr) last_ = nullptr;
    }
    end->next = nullptr;
    for (Node* at = batch; at != nullptr; at = at->next) callback_({at->key, at->key_size}, {at->value, at->value_size});
    done_ = batch;
    done_last_ = end;
    return n;
  }

 private:
  struct Node {
    Node* next = nullptr;
    std::uint8_t key_size = 0, value_size = 0;
    char key[kKeyBytes];
    char value[kValueBytes];
  };
  void give_back() {
    if (done_ == nullptr) return;
    done_last_->next = free_;
    free_ = std::exchange(done_, nullptr);
  }

  std::unordered_map<std::string, std::string, StringHash, std::equal_to<>> map_;
  std::vector<Node> nodes_;
  Callback callback_;
  Node* done_ = nullptr;  // of the one who polls
  Node* done_last_ = nullptr;
  alignas(128) std::mutex mutex_;
  Node* free_ = nullptr;
  Node* first_ = nullptr;
  Node* last_ = nullptr;
  std::uint64_t lost_ = 0;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_CALLBACK_QUEUE_H_
