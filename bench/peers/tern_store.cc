// Tern: plain calls, a Session for each thread, tokens prefetched four ahead, and groups.
#include <tern/store.h>

#include <cstdio>
#include <cstdlib>

#include "bench/slice.h"

namespace tern::bench {
namespace {

template <class Handle>
class Calls {
 public:
  explicit Calls(Handle handle, std::uint32_t value_bytes_max)
      : handle_(std::move(handle)), value_bytes_max_(value_bytes_max) {}

  bool get(std::string_view key, char* out) noexcept {
    return handle_.get(key, std::span<char>(out, value_bytes_max_)).found();
  }
  bool set(std::string_view key, std::string_view value) noexcept {
    return handle_.set(key, value).ok();
  }
  bool del(std::string_view key) noexcept {
    const Result<bool> removed = handle_.del(key);
    return removed && *removed;
  }

  Token prefetch(std::string_view key) noexcept { return handle_.prefetch(key); }
  bool get(const Token& token, char* out, std::size_t out_bytes) noexcept {
    return handle_.get(token, std::span<char>(out, out_bytes)).found();
  }

  void get_many(std::span<const std::string_view> keys, char* out, std::size_t stride,
                Tally& t) noexcept {
    const std::span<Lookup<std::size_t>> answers(lookups_.data(), keys.size());
    if (!handle_.get_many(keys, out, stride, answers)) return;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (answers[i].found()) {
        ++t.hits;
        t.sum += head_of(out + i * stride);
      } else {
        ++t.misses;
      }
    }
  }
  void set_many(std::span<const std::string_view> keys, const char* values, std::size_t stride,
                std::span<const std::uint32_t> sizes, Tally& t) noexcept {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      items_[i].key = keys[i];
      items_[i].value = {values + i * stride, sizes[i]};
    }
    const std::span<Result<std::uint64_t>> answers(results_.data(), keys.size());
    if (!handle_.set_many({items_.data(), keys.size()}, answers)) {
      t.refused += keys.size();
      return;
    }
    for (const Result<std::uint64_t>& answer : answers) t.refused += !answer.ok();
  }

 private:
  Handle handle_;
  std::uint32_t value_bytes_max_;
  std::vector<Lookup<std::size_t>> lookups_ = std::vector<Lookup<std::size_t>>(kBatchMax);
  std::vector<Result<std::uint64_t>> results_ = std::vector<Result<std::uint64_t>>(kBatchMax);
  std::vector<Item> items_ = std::vector<Item>(kBatchMax);
};

class TernAdapter {
 public:
  explicit TernAdapter(const StoreConfig& config) : config_(config) {
    Options options;
    options.memory_bytes = config.memory_bytes != 0 ? config.memory_bytes : budget(config);
    options.entries_expected = config.entries;  // reserved to size, as every store here
    options.huge_pages = config.huge_pages;
    options.hash_seed = 1;
    options.name = "bench";
    Result<Store> opened = Store::open(options);
    if (!opened) {
      std::fprintf(stderr, "tern bench: Store::open: %s (%s)\n", status_name(opened.status()),
                   field_name(opened.error().field));
      std::_Exit(1);
    }
    store_ = *opened;
  }

  class Worker : public Calls<Store> {
   public:
    explicit Worker(TernAdapter& a) : Calls(a.store_, a.config_.value_bytes_max) {}
  };
  class Session : public Calls<tern::Session> {
   public:
    explicit Session(TernAdapter& a)
        : Calls(std::move(*a.store_.session()), a.config_.value_bytes_max) {}
  };

  std::uint64_t bytes_used() const { return store_.stats().memory_used_bytes; }

  void describe(Memory& memory, const KeyMaker& maker) const {
    memory.buckets = store_.stats().buckets;
    std::vector<char> slot(maker.key_slot());
    double sum = 0;
    unsigned seen = 0;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(config_.entries, 1000); ++i) {
      const std::uint64_t index = scramble(i, config_.entries);
      const Lookup<Inspection> record =
          store_.inspect({slot.data(), maker.key(index, slot.data())});
      if (!record) continue;
      sum += static_cast<double>(record->block_bytes);
      ++seen;
    }
    memory.record_bytes = seen == 0 ? 0 : sum / seen;
  }

 private:
  // Payload, 80 bytes of header, slot and rounding, and a fifth beside. (Pages are committed as they are used, but the reserve
  // for removals and what eviction remembers are shares of the budget, and counted.)
  static std::uint64_t budget(const StoreConfig& c) {
    const double each = c.key_bytes_mean + c.value_bytes_mean * 1.15 + 80;
    return static_cast<std::uint64_t>(static_cast<double>(c.entries) * each * 1.2) +
           (std::uint64_t{96} << 20);
  }

  StoreConfig config_;
  Store store_;
};

}  // namespace

StoreKind tern_store() {
  return {.name = "tern",
          .what = "this library",
          .groups = true,
          .sessions = true,
          .make = &make_runner<TernAdapter>};
}

}  // namespace tern::bench
