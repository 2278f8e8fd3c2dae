#include "tests/engine/api/batch_sequence.h"

#include <tern/store.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/api/sequence_bytes.h"

namespace tern::test {
namespace {

using std::chrono::milliseconds;

constexpr unsigned kKeys = 12;

struct Known {
  std::string value;
  std::optional<milliseconds> deadline;
  std::uint64_t version = 0;
  bool is_tagged = false;
  std::string metadata{};
};
using Model = std::map<std::string, Known>;

// One operation, as the batch was told and as the model does it.
struct Asked {
  enum Kind : std::uint8_t { kSet, kDel, kAbsent, kPresent, kVersion, kValue } kind = kSet;
  std::string key;
  std::string value;  // of a set; of kValue
  std::optional<milliseconds> ttl;
  bool keep_ttl = false, if_absent = false, if_present = false, is_tagged = false;
  std::optional<std::uint64_t> version;  // of kVersion; if_version of a set
  bool keep_metadata = false;
  std::string metadata{};
};
using List = std::vector<Asked>;

class Run {
 public:
  explicit Run(std::span<const std::uint8_t> bytes) : in_(bytes) {
    Options o;
    o.memory_bytes = std::size_t{4} << 20;
    o.hash_seed = in_.byte();
    o.shard_count = 1u << in_.below(3);
    o.clock = &clock_;
    o.maintenance = Maintenance::kTick;
    o.eviction = false;  // the model knows of none
    if (in_.byte() % 4 == 0) o.entries_max = entries_max_ = 10;
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
          &Run::batch, &Run::batch, &Run::batch, &Run::batch,   &Run::clear, &Run::transact, &Run::transact, &Run::set,
          &Run::del,   &Run::view,  &Run::view,  &Run::advance, &Run::tick,  &Run::fill,     &Run::large,    &Run::lessen,
      };
      (this->*kOperations[in_.byte() % 16])();
      check_all();
    }
    if (difference_.empty()) finish();
    return difference_;
  }

 private:
  void fail(const std::string& what) {
    if (difference_.empty()) difference_ = what + " (operation " + std::to_string(operations_) + ")";
  }
  static std::string key(unsigned n) {
    std::string k = "k" + std::to_string(n);
    if (n == 3) k.resize(254, 'x');
    if (n == 7) k.resize(255, 'x');
    if (n == 11) k.resize(9'000, 'y');
    return k;
  }
  std::string value() {
    const unsigned form = in_.byte();
    return std::string(form >= 252 ? 70'000 : form % 100, static_cast<char>('a' + form % 26));
  }
  bool is_live(const Known& e) const { return !e.deadline || clock_.at < *e.deadline; }
  const Known* live(const std::string& k) const {
    const auto it = present_.find(k);
    return it != present_.end() && is_live(it->second) ? &it->second : nullptr;
  }

  Asked ask(bool only_conditions) {
    Asked a;
    const unsigned what = in_.byte();
    a.kind = only_conditions || what % 16 >= 12 ? static_cast<Asked::Kind>(Asked::kAbsent + what / 16 % 4)
             : what % 16 >= 9                   ? Asked::kDel
                                                : Asked::kSet;
    a.key = key(in_.below(kKeys));
    const Known* const now = live(a.key);
    const unsigned how = in_.byte();
    // Conditions that hold are as frequent as those that don't.
    if (a.kind == Asked::kVersion) a.version = now != nullptr ? now->version + (how % 4 == 0) : how;
    if (a.kind == Asked::kValue) a.value = now != nullptr && how % 4 != 0 ? now->value : "other";
    if (a.kind != Asked::kSet) return a;
    a.value = value();
    if (how % 4 == 0) a.ttl = milliseconds(how / 4 + 1);
    if (how % 4 == 1) a.keep_ttl = true;
    if (how % 4 == 3) a.is_tagged = true;
    if (how % 16 == 7) a.metadata = "of " + a.value.substr(0, how);
    a.keep_metadata = how % 16 == 1 || how % 16 == 11;
    if (how % 32 == 2) a.if_absent = true;
    if (how % 32 == 6) a.if_present = true;
    if (how % 32 == 10) a.version = now != nullptr ? now->version + how / 128 : how;
    return a;
  }
  List list(bool only_conditions) {
    List asked;
    for (unsigned i = 0, n = in_.below(7); i != n; ++i) asked.push_back(ask(only_conditions));
    return asked;
  }
  static void tell(WriteBatch& batch, const List& asked) {
    batch.clear();
    for (const Asked& a : asked) {
      switch (a.kind) {
        case Asked::kSet: {
          SetOptions o;
          o.ttl = a.ttl;
          o.keep_ttl = a.keep_ttl;
          o.if_absent = a.if_absent;
          o.if_present = a.if_present;
          o.if_version = a.version;
          if (a.is_tagged) o.tags = kTags;
          o.metadata = a.metadata;
          o.keep_metadata = a.keep_metadata;
          if (a.ttl || a.keep_ttl || a.if_absent || a.if_present || a.version || a.is_tagged || a.keep_metadata) {
            batch.set(a.key, a.value, o);
          } else {
            batch.set(a.key, a.value);
          }
          break;
        }
        case Asked::kDel: batch.del(a.key); break;
        case Asked::kAbsent: batch.require_absent(a.key); break;
        case Asked::kPresent: batch.require_present(a.key); break;
        case Asked::kVersion: batch.require_version(a.key, *a.version); break;
        case Asked::kValue: batch.require_value(a.key, a.value); break;
      }
    }
  }
  bool holds(const Asked& a) const {
    const Known* const now = live(a.key);
    if ((a.kind == Asked::kAbsent || a.if_absent) && now != nullptr) return false;
    if ((a.kind == Asked::kPresent || a.if_present) && now == nullptr) return false;
    if (a.version && (now == nullptr || now->version != *a.version)) return false;
    return a.kind != Asked::kValue || (now != nullptr && now->value == a.value);
  }
  // The first that doesn't hold; the list's size if all do.
  std::size_t first_false(const List& asked) const {
    std::size_t i = 0;
    while (i != asked.size() && holds(asked[i])) ++i;
    return i;
  }
  // `asked` was committed: the state before it decides what is kept.
  void carry_out(const WriteBatch& batch, const List& asked) {
    const Model before = present_;
    for (std::size_t i = 0; i != asked.size(); ++i) {
      const Asked& a = asked[i];
      if (a.kind == Asked::kDel) present_.erase(a.key);
      if (a.kind == Asked::kDel && batch.version(i) != 0) fail("a removal has a version");
      if (a.kind != Asked::kSet) continue;
      Known e{a.value, {}, 0, a.is_tagged, a.metadata};
      if (a.ttl) e.deadline = clock_.at + *a.ttl;
      const auto was = before.find(a.key);
      if (a.keep_ttl && was != before.end() && is_live(was->second)) e.deadline = was->second.deadline;
      if (a.keep_metadata && was != before.end() && is_live(was->second)) e.metadata = was->second.metadata;
      present_[a.key] = e;
    }
    for (std::size_t i = 0; i != asked.size(); ++i) {
      const Asked& a = asked[i];
      const bool last = std::none_of(asked.begin() + static_cast<std::ptrdiff_t>(i) + 1, asked.end(), [&](const Asked& b) {
        return b.key == a.key && (b.kind == Asked::kSet || b.kind == Asked::kDel);
      });
      if (a.kind != Asked::kSet) continue;
      if (!last) {
        if (batch.version(i) != 0) fail("a set that doesn't count has a version");
        continue;
      }
      std::uint64_t& newest = newest_[a.key];
      if (batch.version(i) <= newest) fail("a batch's version isn't the key's newest");
      newest = present_[a.key].version = batch.version(i);
    }
  }
  // Whether a refusal for lack of room is to be believed.
  bool may_refuse() const { return entries_max_ != 0 || filled_ != 0; }

  void batch() {
    const List asked = list(false);
    tell(batch_, asked);
    const std::size_t wrong = first_false(asked);
    const Result<void> r = store_.write(batch_);
    if (r.status() == Status::kOutOfMemory) return refused(may_refuse());
    if (wrong == asked.size()) {
      if (!r) return fail("a batch failed: " + std::string(status_name(r.status())));
      return carry_out(batch_, asked);
    }
    if (r.status() != Status::kConflict) return fail("a batch whose condition is false didn't conflict");
    if (batch_.failed() != wrong) fail("a batch blames another operation");
  }
  void transact() {
    const List conditions = list(true), then = list(false), otherwise = list(false);
    WriteBatch when, no;
    tell(when, conditions);
    tell(batch_, then);
    tell(no, otherwise);
    const bool yes = first_false(conditions) == conditions.size();
    const List& chosen = yes ? then : otherwise;
    const std::size_t wrong = first_false(chosen);
    const Result<bool> r = store_.transact(when, batch_, no);
    if (r.status() == Status::kOutOfMemory) return refused(may_refuse());
    if (wrong != chosen.size()) {
      if (r.status() != Status::kConflict) return fail("a transaction whose condition is false didn't conflict");
      if ((yes ? batch_ : no).failed() != wrong) fail("a transaction blames another operation");
        return;
    }
    if (!r) return fail("a transaction failed: " + std::string(status_name(r.status())));
    if (*r != yes) return fail("a transaction chose the other list");
    carry_out(yes ? batch_ : no, chosen);
  }
  void refused(bool believed) {
    if (!believed) fail("refused without a reason");
  }
  void set() {
    const std::string k = key(in_.below(kKeys)), v = value();
    const auto r = store_.set(k, v);
    if (r.status() == Status::kOutOfMemory) return refused(may_refuse());
    if (!r) return fail("set");
    if (*r <= newest_[k]) fail("a set's version isn't the key's newest");
    newest_[k] = *r;
    present_[k] = {v, {}, *r, false, {}};
  }
  void del() {
    const std::string k = key(in_.below(kKeys));
    const auto r = store_.del(k);
    if (!r || *r != (live(k) != nullptr)) fail("del");
    present_.erase(k);
  }
  // By an invalidation point: what batches ask, keep and replace from now on is dead, swept or not.
  void clear() {
    const unsigned how = in_.byte();
    const std::string prefix = how % 4 == 0 ? "k" : how % 4 == 1 ? "k1" : key(how / 4 % kKeys);
    const bool is_by_tag = how % 4 == 2;
    const auto r = is_by_tag ? store_.del_tag(kTags[0]) : store_.del_prefix(prefix);
    if (r.status() == Status::kOutOfMemory) return refused(filled_ != 0);
    if (!r) return fail("clear");
    std::erase_if(present_, [&](const auto& e) { return is_by_tag ? e.second.is_tagged : e.first.starts_with(prefix); });
  }
  // Opened before what follows, looked at after it.
  void view() {
    if (view_.is_open()) {
      for (unsigned n = 0; n != kKeys; ++n) {
        const std::string k = key(n);
        const Lookup<Entry> r = view_.get_entry(k);
        if (r.status() == Status::kViewExpired) break;
        const auto it = viewed_.find(k);
        if (!r && !r.missing()) fail("a view's get");
        if (static_cast<bool>(r) != (it != viewed_.end())) fail("a view gained or lost a key");
        if (r && (r->value.view() != it->second.value || r->version != it->second.version || r->metadata.view() != it->second.metadata)) fail("a view has moved");
      }
      view_.close();
      return;
    }
    Result<View> opened = store_.view();
    if (!opened) return fail("view");
    view_ = std::move(*opened);
    viewed_.clear();
    for (const auto& [k, e] : present_) {
      if (is_live(e)) viewed_.emplace(k, e);
    }
  }
  void advance() { clock_.at += milliseconds(in_.byte() % 32); }
  void tick() {
    (void)in_.byte();
    if (!store_.tick(milliseconds(1))) fail("tick");
  }
  static std::string filler(std::uint64_t n) { return "f" + std::to_string(n); }
  // Until nothing more goes in.
  void fill() {
    if (entries_max_ != 0) return;
    const std::string big(4'000, 'f');
    while (store_.set(filler(filled_), big)) ++filled_;
    while (store_.set(filler(filled_), "")) ++filled_;
  }
  // Room for some, in whole spans, as the oldest fillers lie side by side; 255: for everything.
  void lessen() {
    const unsigned n = in_.byte();
    for (unsigned i = 0; gone_ != filled_ && (n == 255 || i != n); ++i, ++gone_) {
      const auto r = store_.del(filler(gone_));
      if (!r || !*r) return fail("a filler is gone");
    }
    if (gone_ == filled_) gone_ = filled_ = 0;
    if (!store_.tick(milliseconds(1))) fail("tick");
  }
  // So many new keys that the places for them may be what there is no memory for: the batch is given up half-way.
  void large() {
    if (entries_max_ != 0) return;
    const unsigned n = in_.below(4'097);
    if (n == 0) return;
    batch_.clear();
    for (unsigned i = 0; i != n; ++i) batch_.set("large" + std::to_string(i), "");
    const Stats before = store_.stats();
    const Result<void> r = store_.write(batch_);
    if (r.status() == Status::kOutOfMemory) {
      refused(filled_ != 0);
      if (store_.stats().entries > before.entries) fail("a batch that was refused left entries");  // fewer: it has swept
      for (unsigned i = 0; i < n; i += 7) {
        if (!store_.get("large" + std::to_string(i)).missing()) return fail("a batch that was refused left a key");
      }
      return;
    }
    if (!r) return fail("a large batch failed");
    batch_.clear();
    for (unsigned i = 0; i != n; ++i) {
      const Lookup<Value> at = store_.get("large" + std::to_string(i));
      if (!at || at->size() != 0) return fail("a large batch lacks a key");
      batch_.del("large" + std::to_string(i));
    }
    if (const Result<void> gone = store_.write(batch_); !gone) {
      if (gone.status() != Status::kOutOfMemory || filled_ == 0) return fail("a large batch can't be removed");
      for (unsigned i = 0; i != n; ++i) (void)store_.del("large" + std::to_string(i));
    }
    if (!store_.get("large0").missing()) fail("a large batch is left");
  }

  void check_all() {
    for (unsigned n = 0; n != kKeys && difference_.empty(); ++n) {
      const std::string k = key(n);
      const Known* const now = live(k);
      const Lookup<Entry> r = store_.get_entry(k);
      if (!r && !r.missing()) return fail("get_entry");
      if (static_cast<bool>(r) != (now != nullptr)) return fail((r ? "a key too many: " : "a key is gone: ") + k.substr(0, 8));
      if (!r) continue;
      if (r->value.view() != now->value) return fail("another value of " + k.substr(0, 8));
      if (r->version != now->version) return fail("another version of " + k.substr(0, 8));
      if (r->metadata.view() != now->metadata) return fail("other metadata of " + k.substr(0, 8));
      if (r->ttl.has_value() != now->deadline.has_value()) return fail("a deadline too many or too few");
      if (r->ttl && *r->ttl != *now->deadline - clock_.at) return fail("another lifetime");
    }
    if (entries_max_ != 0 && store_.stats().entries > entries_max_) fail("more entries than there may be");
  }
  void finish() {
    view_.close();
    verify();
    for (; gone_ != filled_; ++gone_) (void)store_.del(filler(gone_));
    for (unsigned n = 0; n != kKeys; ++n) (void)store_.del(key(n));
    for (int i = 0; i != 1'000 && store_.stats().entries != 0; ++i) (void)store_.tick(milliseconds(1));
    if (store_.stats().entries != 0) fail("entries are left");
    verify();
  }
  void verify() {
    std::string why;
    const auto hear = [](void* to, const char* message) { *static_cast<std::string*>(to) += std::string(": ") + message; };
    if (!store_.verify(hear, &why)) fail("verify" + why);
  }

  static constexpr std::string_view kTags[] = {"t"};

  Bytes in_;
  StillClock clock_;
  std::size_t entries_max_ = 0;
  std::uint64_t filled_ = 0;  // keys f0 and up that fill the store
  std::uint64_t gone_ = 0;    // the first of them, removed again
  Store store_;
  WriteBatch batch_;
  View view_;
  Model present_;
  Model viewed_;
  std::map<std::string, std::uint64_t> newest_;  // versions, across removals
  std::size_t operations_ = 0;
  std::string difference_;
};

}  // namespace

std::string run_batches(std::span<const std::uint8_t> bytes) { return Run(bytes).run(); }

}  // namespace tern::test
