#include "tests/engine/api/view_sequence.h"

#include <tern/pattern.h>
#include <tern/store.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/api/sequence_bytes.h"

namespace tern::test {
namespace {

using std::chrono::milliseconds;

struct Known {
  std::string value;
  std::optional<milliseconds> deadline;
  bool is_tagged = false;
  std::string metadata{};
};
using Model = std::map<std::string, Known>;

class Run {
 public:
  explicit Run(std::span<const std::uint8_t> bytes) : in_(bytes) {
    constexpr unsigned kKeyCounts[] = {4, 16, 200, 3'000};
    key_count_ = kKeyCounts[in_.below(4)];
    Options o;
    o.memory_bytes = std::size_t{8} << 20;
    o.hash_seed = in_.byte();
    o.shard_count = 1u << in_.below(3);
    o.clock = &clock_;
    o.eviction = false;  // the model knows of none
    const unsigned more = in_.byte();
    if (more % 4 == 0) o.view_bytes_max = 20'000;
    o.ordered = more / 4 % 2 == 0;
    Result<Store> store = Store::open(o);
    if (!store) {
      fail("open");
      return;
    }
    store_ = std::move(*store);
  }

  std::string run() {
    while (!in_.empty() && difference_.empty()) {
      ++operations_;
      using Operation = void (Run::*)();
      static constexpr Operation kOperations[16] = {
          &Run::set,  &Run::set,   &Run::clear, &Run::set_many, &Run::del, &Run::batch, &Run::expire, &Run::open,
          &Run::open, &Run::close, &Run::read, &Run::read,     &Run::scan, &Run::walk, &Run::advance, &Run::tick,
      };
      (this->*kOperations[in_.byte() % 16])();
    }
    if (difference_.empty()) finish();
    return difference_;
  }

 private:
  struct Open {
    View view;
    Model model;  // live entries of that moment
    milliseconds at;
  };

  void fail(const std::string& what) {
    if (difference_.empty()) difference_ = what + " (operation " + std::to_string(operations_) + ")";
  }
  std::string key() {
    const unsigned n = in_.below(key_count_);
    std::string k = "k" + std::to_string(n);
    if (n % 16 == 3) k.resize(n % 32 == 3 ? 254 : 255, 'x');
    if (n % 64 == 12) k.resize(9'000, 'y');
    return k;
  }
  std::string value() {
    const unsigned form = in_.byte();
    return std::string(form >= 250 ? 70'000 : form % 100, static_cast<char>('a' + in_.byte() % 26));
  }
  bool is_live(const Known& e) const { return !e.deadline || clock_.at < *e.deadline; }

  void set() {
    const std::string k = key(), v = value();
    std::optional<milliseconds> ttl;
    const unsigned b = in_.byte();
    if (b % 4 == 0) ttl = milliseconds(b / 4 + 1);
    SetOptions o;
    o.ttl = ttl;
    if (b % 4 == 1) o.tags = kTags;
    const std::string metadata = b % 8 == 1 || b % 4 == 2 ? "of " + v.substr(0, b) : "";
    o.metadata = metadata;
    const auto r = store_.set(k, v, o);
    if (r.status() == Status::kOutOfMemory) return;
    if (!r) return fail("set");
    present_[k] = {v, ttl ? std::optional(clock_.at + *ttl) : std::nullopt, b % 4 == 1, metadata};
  }
  // Some of it at one moment.
  void batch() {
    batch_.clear();
    Model after = present_;
    for (unsigned i = 0, n = 1 + in_.below(8); i != n; ++i) {
      const std::string k = key();
      const unsigned how = in_.byte();
      if (how % 4 == 0) {
        batch_.del(k);
        after.erase(k);
        continue;
      }
      SetOptions o;
      if (how % 4 == 1) o.tags = kTags;
      const std::string v(how, 'b');
      batch_.set(k, v, o);
      after[k] = {v, std::nullopt, how % 4 == 1, {}};
    }
    const auto r = store_.write(batch_);
    if (r.status() == Status::kOutOfMemory) return;
    if (!r) return fail("write");
    present_ = std::move(after);
  }
  // Many at one moment, by an invalidation point, which is swept later.
  void clear() {
    const unsigned how = in_.byte();
    static constexpr const char* kPrefixes[] = {"k1", "m", "k12", "g"};
    const std::string prefix = how % 4 == 0 ? key() : how % 32 == 2 ? "" : kPrefixes[how / 4 % 4];
    const bool is_by_tag = how % 4 == 1;
    const auto r = is_by_tag ? store_.del_tag(kTags[0]) : store_.del_prefix(prefix);
    if (r.status() == Status::kOutOfMemory) return;
    if (!r) return fail("clear");
    std::erase_if(present_, [&](const auto& e) { return is_by_tag ? e.second.is_tagged : e.first.starts_with(prefix); });
  }
  void set_many() {
    for (unsigned i = 0, n = in_.byte(); i != n; ++i) {
      const std::string k = "m" + std::to_string((i * 7 + n) % key_count_);
      if (store_.set(k, "many")) present_[k] = {"many", std::nullopt, false, {}};
    }
  }
  void del() {
    const std::string k = key();
    const auto r = store_.del(k);
    if (!r) return fail("del");
    const auto it = present_.find(k);
    if (*r != (it != present_.end() && is_live(it->second))) fail("del answered otherwise");
    if (it != present_.end()) present_.erase(it);
  }
  void expire() {
    const std::string k = key();
    const milliseconds ttl(in_.byte() + 1);
    const auto r = store_.expire(k, ttl);
    if (r.status() == Status::kOutOfMemory) return;
    const auto it = present_.find(k);
    const bool live = it != present_.end() && is_live(it->second);
    if (!r || *r != live) return fail("expire");
    if (live) it->second.deadline = clock_.at + ttl;
  }
  void open() {
    if (open_.size() == 6) open_.erase(open_.begin() + in_.byte() % 6);
    Result<View> view = store_.view();
    if (!view) return fail("view");
    Open o{std::move(*view), {}, clock_.at};
    for (const auto& [k, e] : present_) {
      if (is_live(e)) o.model.emplace(k, e);
    }
    open_.push_back(std::move(o));
  }
  Open* any() { return open_.empty() ? nullptr : &open_[in_.byte() % open_.size()]; }
  void close() {
    if (!open_.empty()) open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(in_.byte() % open_.size()));
  }
  bool has_ended(const Open& o, Status status) {
    if (status != Status::kViewExpired) return false;
    if (o.view.is_open()) fail("view_expired, but it is open");
    if (store_.stats().views_ended == 0) fail("view_expired, but none was ended");
    return true;
  }
  void check(const Open& o, const std::string& k, std::string_view v, std::optional<milliseconds> ttl, std::string_view metadata) {
    const auto it = o.model.find(k);
    if (it == o.model.end()) return fail("a view has a key too many: " + k.substr(0, 20));
    if (v != it->second.value) return fail("a view has another value of " + k.substr(0, 20));
    if (metadata != it->second.metadata) return fail("a view has other metadata of " + k.substr(0, 20));
    if (ttl.has_value() != it->second.deadline.has_value()) return fail("a view has a deadline too many or too few");
    if (ttl && *ttl != *it->second.deadline - o.at) fail("a view has another lifetime");
  }
  void read() {
    Open* const o = any();
    if (o == nullptr) return;
    const std::string k = key();
    const Lookup<Entry> r = o->view.get_entry(k);
    if (has_ended(*o, r.status())) return;
    if (r) return check(*o, k, r->value.view(), r->ttl, r->metadata.view());
    if (!r.missing()) return fail("get_entry of a view");
    if (o->model.count(k) != 0) fail("a view lacks " + k.substr(0, 20));
  }
  void walk() {
    Open* const o = any();
    if (o == nullptr) return;
    std::size_t seen = 0;
    std::string last;
    const bool grows = in_.byte() % 2 == 0;
    const Result<bool> r = o->view.for_each([&](const ViewEntry& e) {
      check(*o, std::string(e.key), e.value, e.ttl, e.metadata);
      ++seen;
      if (grows && seen % 4 == 0) {
        const std::string k = "g" + std::to_string(grown_++ % 4'000);
        if (store_.set(k, "grown")) present_[k] = {"grown", std::nullopt, false, {}};
      }
      return difference_.empty();
    });
    if (has_ended(*o, r.status())) return;
    if (!r) return fail("for_each");
    if (seen != o->model.size()) fail("a walk of " + std::to_string(seen) + " instead of " + std::to_string(o->model.size()));
    const Result<std::uint64_t> size = o->view.size();
    if (size && *size != o->model.size()) fail("another size");
  }
  // A part of the keys, in order, in pages, of which some write.
  void scan() {
    Open* const o = any();
    if (o == nullptr) return;
    const unsigned how = in_.byte();
    const std::string low = how % 3 == 0 ? key() : "", high = how % 5 == 0 ? key() : "";
    static constexpr const char* kPrefixes[] = {"", "k", "k1", "m", "k3"};
    ScanOptions wanted;
    wanted.prefix = kPrefixes[in_.byte() % 5];
    wanted.from = low;
    wanted.to = high;
    wanted.reverse = how / 16 % 2 != 0;
    wanted.keys_only = how / 32 % 2 != 0;
    wanted.limit = in_.byte() % 8 * 40;
    // What can match narrows a scan: of what can't, nothing may be lost.
    const unsigned more = in_.byte();
    const std::string after = more % 4 == 1 ? key() : "";
    wanted.after = after;
    static const Pattern kPatterns[] = {*Pattern::compile("k1*"), *Pattern::compile("{k1,m,g}*5"), *Pattern::compile("*3?"),
                                        *Pattern::compile("k12"), *Pattern::compile("K1*", {.fold_case = true})};
    if (more / 4 % 4 == 1) wanted.pattern = &kPatterns[more / 16 % std::size(kPatterns)];
    static constexpr const char* kNodes[] = {"k", "m", "k1", "k12"};
    if (more / 4 % 4 == 2) {
      wanted.subtree = kNodes[more / 16 % 4];
      wanted.separator = '2';
    }
    const auto is_wanted = [&](const std::string& k) {
      if (!k.starts_with(wanted.prefix) || k < low || (!high.empty() && k >= high)) return false;
      if (!after.empty() && (wanted.reverse ? k >= after : k <= after)) return false;
      if (wanted.pattern != nullptr && !wanted.pattern->matches(k)) return false;
      return wanted.subtree.empty() || k == wanted.subtree || k.starts_with(std::string(wanted.subtree) + wanted.separator);
    };
    const unsigned stops_after = in_.byte() % 4 == 0 ? 1 + in_.byte() : ~0u;
    std::vector<std::string> expected, seen;
    for (const auto& [k, e] : o->model) {
      if (is_wanted(k)) expected.push_back(k);
    }
    if (wanted.reverse) expected = {expected.rbegin(), expected.rend()};
    ScanCursor cursor;
    for (;;) {
      const std::size_t before = seen.size();
      const Result<bool> r = o->view.scan(wanted, cursor, [&](const ViewEntry& e) {
        seen.emplace_back(e.key);
        if (!wanted.keys_only) check(*o, seen.back(), e.value, e.ttl, e.metadata);
        if (seen.size() % 16 == 5) {
          const std::string k = "g" + std::to_string(grown_++ % 4'000);
          if (store_.set(k, "grown")) present_[k] = {"grown", std::nullopt, false, {}};
        }
        return seen.size() - before != stops_after;
      });
      if (has_ended(*o, r.status())) return;
      if (!r) return fail("scan");
      if (cursor.at_end() != *r) return fail("a cursor's end isn't the scan's");
      if (wanted.limit != 0 && seen.size() - before > wanted.limit) fail("a page beyond its limit");
      if (seen.size() > expected.size() || !std::equal(seen.begin(), seen.end(), expected.begin())) return fail("a scan shows other keys");
      if (*r) break;
      if (seen.size() == before) return fail("an empty page that isn't the last");
    }
    if (seen.size() != expected.size()) fail("a scan of " + std::to_string(seen.size()) + " keys instead of " + std::to_string(expected.size()));
  }
  void advance() { clock_.at += milliseconds(in_.byte()); }
  void tick() {
    if (!store_.tick(std::chrono::microseconds(in_.byte() * 10))) fail("tick");
    if (in_.byte() % 8 == 0 && !store_.verify()) fail("verify");
  }
  void finish() {
    const Stats s = store_.stats();
    if (open_.empty() && s.views != 0) fail("views are left");
    open_.clear();
    for (int i = 0; i != 10'000 && store_.stats().kept_versions != 0; ++i) (void)store_.tick(milliseconds(1));
    if (store_.stats().kept_versions != 0 || store_.stats().kept_bytes != 0) fail("versions are left");
    if (!store_.verify()) fail("verify");
  }

  static constexpr std::string_view kTags[] = {"t"};

  Bytes in_;
  StillClock clock_;
  WriteBatch batch_;
  unsigned key_count_ = 0;
  unsigned grown_ = 0;
  Store store_;
  Model present_;
  std::vector<Open> open_;
  std::size_t operations_ = 0;
  std::string difference_;
};

}  // namespace

std::string run_views(std::span<const std::uint8_t> bytes) { return Run(bytes).run(); }

}  // namespace tern::test
