#include "tests/engine/api/namespace_sequence.h"

#include <tern/namespace.h>

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

using Model = std::map<std::string, std::string>;

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

class Run {
 public:
  explicit Run(std::span<const std::uint8_t> bytes) : in_(bytes) {
    Options o;
    o.memory_bytes = std::size_t{8} << 20;
    o.hash_seed = in_.byte();
    o.shard_count = 1u << in_.below(3);
    o.clock = &clock_;
    o.maintenance = Maintenance::kTick;
    o.eviction = false;  // the models know of none
    const unsigned more = in_.byte();
    o.ordered = more % 2 == 0;
    folds_ = more / 2 % 2 == 0;
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
          &Run::set,   &Run::set,    &Run::set,    &Run::change, &Run::del,  &Run::many,  &Run::batch, &Run::clear,
          &Run::watch, &Run::remove, &Run::listen, &Run::read,   &Run::list, &Run::range, &Run::view,  &Run::tick,
      };
      (this->*kOperations[in_.byte() % 16])();
    }
    for (unsigned i = 0; i != kCount && difference_.empty(); ++i) {
      at_ = i;
      list_all();
    }
    check_figures();
    std::string findings = "verify";
    const LogHook collect = [](void* user, const char* line) { *static_cast<std::string*>(user) += std::string(": ") + line; };
    if (difference_.empty() && store_.is_open() && !store_.verify(collect, &findings)) fail(findings);
    views_.clear();
    return difference_;
  }

 private:
  static constexpr unsigned kCount = 4;  // the default one first

  void fail(const std::string& what) {
    if (difference_.empty()) difference_ = what + " (operation " + std::to_string(operations_) + ", namespace " + std::to_string(at_) + ")";
  }

  // Keys that resemble each other, and what the store puts before others' keys.
  std::string key() {
    static constexpr std::string_view kBegin[] = {"", "a", "A", "a.", "\xFF", std::string_view("\xFF\0\1", 3), std::string_view("\xFF\0\0", 3), "\xFF\xFF\xFF"};
    const unsigned n = in_.byte();
    std::string k(kBegin[n % 8]);
    k += std::to_string(n / 8 % 8);
    if (n % 64 == 9) k.resize(n % 128 == 9 ? 250 : 101, 'x');
    return k;
  }
  std::string value() {
    const unsigned n = in_.byte();
    return n % 8 == 0 ? std::string(n * 20, 'v') : std::to_string(n);
  }
  bool folds() const { return at_ == 2 && folds_; }
  // As the namespace keeps it.
  std::string kept(std::string k) const {
    if (folds()) std::transform(k.begin(), k.end(), k.begin(), [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
    return k;
  }
  Model& model() { return models_[at_]; }

  // Calls fn with the handle that it is about, a Store or a Namespace, made when it is first needed.
  template <class Fn>
  void on(Fn&& fn) {
    if (at_ == 0) return fn(store_);
    static constexpr std::string_view kNames[kCount] = {"", "one", "Two", "\xFF\xFF"};
    if (!opened_[at_]) {
      Result<Namespace> r = store_.ns(kNames[at_], {.fold_case = folds()});
      if (!r) return fail("ns");
      opened_[at_] = *r;
    }
    fn(*opened_[at_]);
  }
  void choose() { at_ = in_.below(kCount); }

  void note(const std::string& k, const std::optional<std::string>& v, bool is_certain = true) {
    for (Listening& l : listening_) {
      if (l.of == at_ && k.starts_with(l.prefix)) l.expected.push_back({k, v, is_certain});
    }
  }
  void put(const std::string& k, const std::string& v) {
    model()[k] = v;
    note(k, v);
  }
  bool erase(const std::string& k) {
    if (model().erase(k) == 0) return false;
    note(k, std::nullopt);
    return true;
  }

  void set() {
    choose();
    const std::string k = key(), v = value();
    on([&](const auto& h) {
      if (!h.set(k, v)) return fail("set");
      put(kept(k), v);
    });
  }
  void change() {
    choose();
    const std::string k = key();
    const unsigned how = in_.below(4);
    on([&](const auto& h) {
      const auto it = model().find(kept(k));
      const bool there = it != model().end();
      if (how == 0) {
        const auto r = h.append(k, "+");
        if (!r || *r != (there ? it->second.size() : 0) + 1) return fail("append");
        put(kept(k), (there ? it->second : std::string()) + "+");
      } else if (how == 1) {
        const auto r = h.set_nx(k, "nx");
        if (!r || *r == there) return fail("set_nx");
        if (!there) put(kept(k), "nx");
      } else if (how == 2) {
        const auto r = h.compare_and_swap(k, there ? it->second : "none", "swapped");
        if (!r || *r != there) return fail("compare_and_swap");
        if (there) put(kept(k), "swapped");
      } else {
        const auto r = h.get_and_del(k);
        if (r.found() != there || (there && r->view() != it->second)) return fail("get_and_del");
        erase(kept(k));
      }
    });
  }
  void del() {
    choose();
    const std::string k = key();
    on([&](const auto& h) {
      const Result<bool> r = h.del(k);
      if (!r || *r != erase(kept(k))) fail("del");
    });
  }
  void many() {
    choose();
    const unsigned count = 1 + in_.below(5), how = in_.below(3);
    std::vector<std::string> keys, values;
    for (unsigned i = 0; i != count; ++i) keys.push_back(key()), values.push_back(value());
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    on([&](const auto& h) {
      if (how == 0) {
        std::vector<Item> items;
        for (unsigned i = 0; i != count; ++i) items.push_back({keys[i], values[i], {}});
        std::vector<Result<std::uint64_t>> answers(count);
        if (!h.set_many(items, answers)) return fail("set_many");
        for (unsigned i = 0; i != count; ++i) put(kept(keys[i]), values[i]);
      } else if (how == 1) {
        std::vector<bool> expected;
        for (const std::string& k : keys) expected.push_back(erase(kept(k)));
        Result<bool> answers[5];
        if (!h.del_many(asked, answers)) return fail("del_many");
        for (unsigned i = 0; i != count; ++i) {
          if (!answers[i] || *answers[i] != expected[i]) fail("del_many's answer");
        }
      } else {
        Values out;
        if (!h.get_many(asked, out)) return fail("get_many");
        for (unsigned i = 0; i != count; ++i) {
          const auto it = model().find(kept(keys[i]));
          if (out[i].found() != (it != model().end()) || (out[i] && *out[i] != it->second)) fail("get_many's answer");
        }
      }
    });
  }
  void batch() {
    choose();
    const unsigned n = in_.byte(), count = 1 + n % 5;
    if (n >= 128) return batch_across(count);
    on([&](const auto& h) {
      WriteBatch b;
      Model after = model();
      bool holds = true;
      std::vector<std::string> touched;
      for (unsigned i = 0; i != count; ++i) {
        const std::string k = key(), v = value();
        const unsigned how = in_.below(4);
        if (how < 2) {
          b.set(k, v);
          after[kept(k)] = v;
        } else if (how == 2) {
          b.del(k);
          after.erase(kept(k));
        } else {
          b.require_absent(k);
          holds = holds && !model().contains(kept(k));
        }
        if (how < 3) touched.push_back(kept(k));
      }
      const Result<void> r = h.write(b);
      if (r.ok() != holds || (!holds && r.status() != Status::kConflict)) return fail("write");
      if (!holds) return;
      std::sort(touched.begin(), touched.end());
      touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
      for (const std::string& k : touched) {
        const auto it = after.find(k);
        if (it != after.end()) {
          put(k, it->second);
        } else if (!erase(k)) {
          note(k, std::nullopt, false);
        }
      }
    });
  }
  // One batch about several namespaces.
  void batch_across(unsigned count) {
    WriteBatch b;
    Model after[kCount];
    std::copy(models_, models_ + kCount, after);
    bool holds = true;
    std::vector<std::pair<unsigned, std::string>> touched;
    for (unsigned i = 0; i != count; ++i) {
      choose();
      const std::string k = key(), v = value();
      const unsigned how = in_.below(4);
      on([&](const auto& h) {
        b.in(h);
        if (how < 2) {
          b.set(k, v);
          after[at_][kept(k)] = v;
        } else if (how == 2) {
          b.del(k);
          after[at_].erase(kept(k));
        } else {
          b.require_present(k);
          holds = holds && model().contains(kept(k));
        }
        if (how < 3) touched.push_back({at_, kept(k)});
      });
    }
    const Result<void> r = store_.write(b);
    if (r.ok() != holds || (!holds && r.status() != Status::kConflict)) return fail("write across namespaces");
    if (!holds) return;
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const auto& [of, k] : touched) {
      at_ = of;
      const auto it = after[of].find(k);
      if (it != after[of].end()) {
        put(k, it->second);
      } else if (!erase(k)) {
        note(k, std::nullopt, false);
      }
    }
  }
  void clear() {
    choose();
    const std::string k = key();
    const bool all = in_.below(3) == 0;
    on([&](const auto& h) {
      if (!(all ? h.clear() : h.del_prefix(k))) return fail("clear");
      std::erase_if(model(), [&](const auto& e) { return all || e.first.starts_with(kept(k)); });
      // Told as it is swept, or not at all: who listens begins anew.
      std::erase_if(listening_, [&](const Listening& l) { return l.of == at_; });
    });
  }
  void remove() {
    choose();
    on([&](const auto& h) {
      const auto r = h.del_pattern("a*");
      const auto is_wanted = [](const auto& e) { return e.first.starts_with("a") && e.first.find('.') == std::string::npos; };
      std::vector<std::string> gone;
      for (const auto& e : model()) {
        if (is_wanted(e)) gone.push_back(e.first);
      }
      if (!r || *r != gone.size()) return fail("del_pattern");
      for (const std::string& k : gone) erase(k);
    });
  }

  void read() {
    choose();
    const std::string k = key();
    on([&](const auto& h) {
      const auto it = model().find(kept(k));
      const Lookup<Value> r = h.get(k);
      if (r.found() != (it != model().end()) || (r && r->view() != it->second)) return fail("get");
      char out[64];
      const Lookup<std::size_t> size = h.get(k, std::span<char>(out));
      if (size.found() != r.found() || (size && *size != it->second.size())) return fail("get into a buffer");
      if (size && *size <= sizeof out && std::string_view(out, *size) != it->second) return fail("get's bytes");
      const Result<bool> exists = h.exists(k);
      if (!exists || *exists != r.found()) fail("exists");
    });
  }
  template <class Handle>
  Model listed(const Handle& h, std::string_view prefix) {
    Model all;
    std::string last;
    const Result<bool> r = h.iterate(prefix, [&](std::string_view k, std::string_view v) {
      if (!all.empty() && k <= last) fail("order");
      last = k;
      all.emplace(k, v);
      return true;
    });
    if (!r) fail("iterate");
    return all;
  }
  Model expected(const std::string& prefix) {
    Model some = model();
    std::erase_if(some, [&](const auto& e) { return !e.first.starts_with(kept(prefix)); });
    return some;
  }
  void list() {
    choose();
    const std::string prefix = in_.below(2) == 0 ? std::string() : key();
    on([&](const auto& h) {
      if (listed(h, prefix) != expected(prefix)) fail("listing of " + prefix);
    });
  }
  void list_all() {
    on([&](const auto& h) {
      if (listed(h, {}) != model()) fail("last listing");
    });
  }
  void range() {
    choose();
    const std::string from = key(), to = key();
    const bool reverse = in_.below(2) == 0;
    const unsigned limit = in_.below(6);
    on([&](const auto& h) {
      std::vector<std::string> got, wanted;
      ScanOptions o;
      o.from = from;
      o.to = to;
      o.reverse = reverse;
      o.limit = limit;
      if (!h.scan(o, [&](std::string_view k) {
            got.emplace_back(k);
            return true;
          })) {
        return fail("scan");
      }
      for (const auto& e : model()) {
        if (e.first >= kept(from) && e.first < kept(to)) wanted.push_back(e.first);
      }
      if (reverse) std::reverse(wanted.begin(), wanted.end());
      if (limit != 0 && wanted.size() > limit) wanted.resize(limit);
      if (got != wanted) fail("range");
    });
  }
  // One that is kept shows its moment later.
  void view() {
    choose();
    on([&](const auto& h) {
      if (views_.size() == 4) {
        check(views_.front());
        views_.erase(views_.begin());
      }
      Result<View> v = h.view();
      if (!v) return fail("view");
      views_.push_back({std::move(*v), model()});
      if (in_.below(2) == 0) check(views_.back());
    });
  }
  struct Open {
    View view;
    Model model;
  };
  void check(const Open& o) {
    Model walked;
    const Result<bool> r = o.view.for_each([&](std::string_view k, std::string_view v) { return walked.emplace(k, v).second; });
    if (r.status() == Status::kViewExpired) return;
    if (!r || walked != o.model) fail("view's walk");
    const Result<std::uint64_t> size = o.view.size();
    if (!size || *size != o.model.size()) fail("view's size");
    if (listed(o.view, {}) != o.model) fail("view's listing");
    for (const auto& [k, v] : o.model) {
      const Lookup<Value> value = o.view.get(k);
      if (!value || value->view() != v) fail("view's get");
    }
  }

  struct Expected {
    std::string key;
    std::optional<std::string> value;
    bool is_certain;  // else it may be told: a batch's deletion of what wasn't there
  };
  using Told = std::map<std::string, std::vector<std::optional<std::string>>>;
  static bool is_told(const Told& got, const std::map<std::string, std::vector<Expected>>& wanted) {
    for (const auto& [key, changes] : got) {
      if (!wanted.contains(key)) return false;
    }
    for (const auto& [key, changes] : wanted) {
      const auto it = got.find(key);
      const std::size_t count = it != got.end() ? it->second.size() : 0;
      std::size_t at = 0;
      for (const Expected& e : changes) {
        const bool is_next = at != count && it->second[at] == e.value;
        if (!is_next && e.is_certain) return false;
        at += is_next;
      }
      if (at != count) return false;
    }
    return true;
  }
  struct Listening {
    unsigned of;
    std::string prefix;
    Watch watch;
    std::vector<Expected> expected;
  };
  void watch() {
    choose();
    const std::string prefix = in_.below(2) == 0 ? std::string() : key();
    sweep();  // what is removed by then isn't told to it
    on([&](const auto& h) {
      if (listening_.size() == 3) listening_.erase(listening_.begin());
      Result<Watch> w = h.watch_prefix(prefix);
      if (!w) return fail("watch");
      listening_.push_back({at_, kept(prefix), std::move(*w), {}});
    });
  }
  // Per key in order; there is none between keys.
  void listen() {
    for (Listening& l : listening_) {
      Told got;
      std::map<std::string, std::vector<Expected>> wanted;
      for (const Expected& e : l.expected) wanted[e.key].push_back(e);
      l.expected.clear();
      Change changes[64];
      bool is_lost = false;
      for (;;) {
        const Result<std::size_t> n = l.watch.poll(changes);
        if (!n) return fail("poll");
        if (*n == 0) break;
        for (const Change& c : std::span(changes).first(*n)) {
          if (c.kind == ChangeKind::kGap) is_lost = true;
          if (c.kind == ChangeKind::kPut) got[std::string(c.key)].push_back(std::string(c.value));
          if (c.kind == ChangeKind::kDelete) got[std::string(c.key)].push_back(std::nullopt);
        }
      }
      at_ = l.of;
      if (!is_lost && !is_told(got, wanted)) fail("watch of " + l.prefix);
    }
  }

  void tick() {
    if (!store_.tick(std::chrono::microseconds(50))) fail("tick");
  }
  void sweep() {
    if (store_.stats().owed.invalidations == 0) return;
    for (int n = 0; n != 100'000; ++n) {
      const Result<Owed> owed = store_.tick(std::chrono::microseconds(50));
      if (!owed) return fail("tick");
      if (owed->invalidations == 0) return;
      if (n == 100) views_.clear();  // it may be that one needs what is swept
    }
  }
  void check_figures() {
    if (!difference_.empty()) return;
    sweep();
    for (at_ = 1; at_ != kCount; ++at_) {
      if (opened_[at_] && opened_[at_]->size() != model().size()) fail("size");
      if (opened_[at_] && (opened_[at_]->stats().bytes == 0) != model().empty()) fail("bytes");
    }
    if (views_.empty() && store_.stats().entries - store_.stats().namespace_entries != models_[0].size()) fail("entries");
  }

  Bytes in_;
  StillClock clock_;
  Store store_;
  bool folds_ = false;
  unsigned at_ = 0;
  std::optional<Namespace> opened_[kCount];
  Model models_[kCount];
  std::vector<Open> views_;
  std::vector<Listening> listening_;
  std::string difference_;
  std::size_t operations_ = 0;
};

}  // namespace

std::string run_namespaces(std::span<const std::uint8_t> bytes) { return Run(bytes).run(); }

}  // namespace tern::test
