#include "tests/engine/api/operation_sequence.h"

#include <tern/store.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/engine/api/operation_model.h"

namespace tern::test {
namespace {

class Run : OperationModel {
 public:
  explicit Run(std::span<const std::uint8_t> bytes) : OperationModel(bytes) {
    constexpr unsigned kKeyCounts[] = {8, 16, 64, 3'000};
    key_count_ = kKeyCounts[in_.below(4)];
    Options options{.memory_bytes = std::size_t{16} << 20};
    options.hash_seed = in_.byte();
    options.shard_count = 1u << in_.below(4);
    options.clock = &clock_;
    const unsigned flags = in_.byte();
    options.align_records = (flags & 1) != 0;
    options.held_bytes_max = (flags & 2) != 0 ? 4'096 : 0;
    options.value_bytes_max = kValueMax;
    options.huge_pages = false;
    brief_ticks_ = (flags & 4) != 0;
    options.maintenance = Maintenance::kTick;
    Result<Store> store = Store::open(options);
    if (!store) {
      fail("open");
      return;
    }
    store_ = std::move(*store);
    session_ = std::move(*store_.session());
  }

  SequenceResult run() {
    while (!in_.empty() && result_.difference.empty()) {
      const unsigned code = in_.byte();
      use_session_ = (code & 0x80) != 0;
      operate(code & 0x7f);
      ++result_.operations;
      if (result_.operations % 256 == 0) check_whole();
    }
    if (result_.difference.empty()) finish();
    result_.transcript = std::to_string(digest_);
    return std::move(result_);
  }

 private:
  // --- operations
  void operate(unsigned code) {
    using Operation = void (Run::*)();
    struct Entry {
      const char* name;
      Operation run;
    };
    static constexpr std::array<Entry, 41> kOperations = {{
        {"get", &Run::get},
        {"get", &Run::get},
        {"get span", &Run::get_span},
        {"get_entry", &Run::get_entry},
        {"get token", &Run::get_token},
        {"visit", &Run::visit},
        {"hold", &Run::hold},
        {"release", &Run::release},
        {"exists", &Run::exists},
        {"set", &Run::set},
        {"set", &Run::set},
        {"set with options", &Run::set_with_options},
        {"set with options", &Run::set_with_options},
        {"set_nx", &Run::set_nx},
        {"del", &Run::del},
        {"del", &Run::del},
        {"get_and_del", &Run::get_and_del},
        {"get_and_set", &Run::get_and_set},
        {"compare_and_swap", &Run::compare_and_swap},
        {"compare_and_swap_version", &Run::compare_and_swap_version},
        {"compare_and_delete", &Run::compare_and_delete},
        {"increment", &Run::increment},
        {"increment_float", &Run::increment_float},
        {"append", &Run::append},
        {"update", &Run::update},
        {"expire", &Run::expire},
        {"persist", &Run::persist},
        {"publish", &Run::publish},
        {"get_many", &Run::get_many},
        {"set_many", &Run::set_many},
        {"del_many", &Run::del_many},
        {"get_or_load", &Run::get_or_load},
        {"advance", &Run::advance},
        {"tick", &Run::tick},
        {"clear", &Run::clear},
        {"del_prefix", &Run::del_prefix},
        {"del_tag", &Run::del_tag},
        {"lease", &Run::lease},
        {"keep_alive", &Run::keep_alive},
        {"revoke", &Run::revoke},
        {"attach", &Run::attach},
    }};
    // Beside the others, whose codes stay what they are in the corpus.
    constexpr Entry kMore[] = {{"set_metadata", &Run::set_metadata}, {"get_metadata", &Run::get_metadata}};
    const Entry& e = code >= 0x7e ? kMore[code & 1] : kOperations[code % kOperations.size()];
    op_ = e.name;
    (this->*e.run)();
  }

  template <class L>
  bool found(const L& r, const Known* e) {
    expect_status(r.status(), e != nullptr ? Status::kOk : Status::kNotFound);
    return r.found() && e != nullptr;
  }

  void get() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.get(k); });
    const Known* e = live(k);
    if (found(r, e)) expect_value(r->view(), e->value);
  }
  void get_span() {
    const std::string k = key();
    std::string buffer(in_.byte() * 40, '#');
    const auto r = call([&](auto& h) { return h.get(k, std::span<char>(buffer)); });
    const Known* e = live(k);
    if (!found(r, e)) return;
    expect(*r == e->value.size(), "another size");
    if (e->value.size() <= buffer.size()) {
      expect_value(std::string_view(buffer).substr(0, *r), e->value);
    } else {
      expect(buffer.find_first_not_of('#') == std::string::npos, "something was copied");
    }
  }
  void get_token() {
    const std::string k = key();
    std::string buffer(kValueMax, '#');
    const auto r = call([&](auto& h) { return h.get(h.prefetch(k), std::span<char>(buffer)); });
    const Known* e = live(k);
    if (found(r, e)) expect_value(std::string_view(buffer).substr(0, *r), e->value);
  }
  void get_entry() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.get_entry(k); });
    Known* e = live(k);
    if (!found(r, e)) return;
    expect_value(r->value.view(), e->value);
    expect_value(r->metadata.view(), e->metadata);
    expect(r->ttl.has_value() == e->deadline.has_value(), "a deadline too many or too few");
    if (r->ttl && e->deadline) expect(*r->ttl == *e->deadline - clock_.at, "another lifetime");
    learn_version(k, *e, r->version);
  }
  void get_metadata() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.get_metadata(k); });
    const Known* e = live(k);
    if (found(r, e)) expect_value(r->view(), e->metadata);
  }
  void set_metadata() {
    const std::string k = key(), m = in_.byte() % 4 == 0 ? "" : metadata();
    Known* const e = live(k);
    const auto r = call([&](auto& h) { return h.set_metadata(k, m); });
    if (refused(r.status())) return;
    expect_status(r.status(), m.size() > kMetadataBytesMax ? Status::kTooLarge : Status::kOk);
    if (!r) return;
    expect(*r == (e != nullptr), "another answer");
    if (e == nullptr) return;
    changed(k, std::string(e->value));
    live(k)->metadata = m;
  }
  void learn_version(const std::string& k, Known& e, std::uint64_t version) {
    note(version);
    expect(e.version == 0 || e.version == version, "another version");
    expect(version >= versions_[k], "a version from before");
    e.version = version;
    versions_[k] = version;
  }
  void visit() {
    const std::string k = key();
    const Known* e = live(k);
    const auto r = call([&](auto& h) {
      return h.visit(
          k, [&](std::string_view v) { expect(e != nullptr && v == e->value, "another value"); });
    });
    found(r, e);
  }
  void hold() {
    const std::string k = key();
    if (held_.size() >= 8) held_.erase(held_.begin());
    auto r = call([&](auto& h) { return h.hold(k); });
    const Known* e = live(k);
    if (!found(r, e)) return;
    expect_value(r->view(), e->value);
    held_.emplace_back(std::move(*r), e->value);
  }
  void release() {
    if (held_.empty()) return;
    const std::size_t i = in_.byte() % held_.size();
    expect_value(held_[i].first.view(), held_[i].second);
    held_.erase(held_.begin() + static_cast<long>(i));
  }
  void exists() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.exists(k); });
    expect_status(r.status(), Status::kOk);
    expect(*r == (live(k) != nullptr), "another answer");
  }
  void set() {
    const std::string k = key(), v = value();
    const auto r = call([&](auto& h) { return h.set(k, v); });
    if (refused(r.status())) return;
    expect_status(r.status(), judge(k, v.size(), {}));
    if (r) {
      note(*r);
      expect(wrote(k, v, std::nullopt, *r), "the version didn't grow");
    }
  }
  void set_with_options() {
    const std::string k = key(), v = value();
    SetOptions o = set_options(k);
    Value previous("left over");
    const bool wants_previous = in_.byte() % 2 == 0;
    if (wants_previous) o.return_previous = &previous;
    const unsigned beside = in_.byte(), tags = beside % 8;
    const std::string given = beside >= 0xc0 ? metadata() : "";
    o.metadata = given;
    o.keep_metadata = (beside & 0xc0) == 0x80;
    std::vector<std::string_view> named;
    for (unsigned i = 0; i != 3; ++i) {
      if ((tags >> i & 1) != 0) named.push_back(kTags[i]);
    }
    o.tags = named;
    KnownLease* const lease = tags >= 6 ? a_lease() : nullptr;
    if (lease != nullptr) o.lease = lease->lease.id();
    Known* const e = live(k);
    const std::string before = e != nullptr ? e->value : "";
    const auto r = call([&](auto& h) { return h.set(k, v, o); });
    if (refused(r.status())) return;
    Status expected = judge(k, v.size(), o);
    const bool contradicts = (o.if_absent && (o.if_present || o.if_version)) || (o.ttl && o.keep_ttl);
    if (given.size() > kMetadataBytesMax && !contradicts) expected = Status::kTooLarge;
    const bool malformed =
        expected == Status::kTooLarge || expected == Status::kInvalidArgument || expected == Status::kOutOfRange;
    if (lease != nullptr && !lives(*lease) && !malformed) expected = Status::kNotFound;
    // With a version that the model doesn't know either answer is right.
    const bool open = expected == Status::kOk && o.if_version && e != nullptr && e->version == 0;
    if (open && r.status() == Status::kMismatch) return;
    expect_status(r.status(), expected);
    if (!r) return;
    note(*r);
    if (wants_previous) expect_value(previous.view(), before);
    const std::optional<milliseconds> deadline = deadline_after(o, k);
    const std::string kept = e != nullptr ? e->metadata : "";
    expect(wrote(k, v, deadline, *r), "the version didn't grow");
    entries_.find(k)->second.metadata = o.keep_metadata ? kept : given;
    entries_.find(k)->second.tags = tags;
    entries_.find(k)->second.lease = place_of(lease);
  }
  void set_nx() {
    const std::string k = key(), v = value();
    SetOptions o;
    o.ttl = ttl();
    const auto r = call([&](auto& h) { return h.set_nx(k, v, o); });
    if (refused(r.status())) return;
    o.if_absent = true;
    const Status expected = judge(k, v.size(), o);
    expect_status(r.status(), expected == Status::kExists ? Status::kOk : expected);
    if (!r) return;
    expect(*r == (expected == Status::kOk), "another answer");
    if (*r) wrote(k, v, deadline_after(o, k), 0);
  }
  void del() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.del(k); });
    expect_status(r.status(), Status::kOk);
    expect(*r == (live(k) != nullptr), "another answer");
    removed(k);
  }
  void get_and_del() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.get_and_del(k); });
    const Known* e = live(k);
    if (found(r, e)) expect_value(r->view(), e->value);
    removed(k);
  }
  void get_and_set() {
    const std::string k = key(), v = value();
    const auto r = call([&](auto& h) { return h.get_and_set(k, v); });
    if (refused(r.status())) return;
    const Known* e = live(k);
    if (v.size() > kValueMax) {
      expect_status(r.status(), Status::kTooLarge);
      return;
    }
    if (found(r, e)) expect_value(r->view(), e->value);
    wrote(k, v, std::nullopt, 0);
  }
  void compare_and_swap() {
    const std::string k = key(), v = value();
    const Known* e = live(k);
    const bool same = in_.byte() % 4 != 0;
    const std::string expected = e != nullptr && same ? e->value : value();
    const auto r = call([&](auto& h) { return h.compare_and_swap(k, expected, v); });
    if (refused(r.status())) return;
    if (v.size() > kValueMax) {
      expect_status(r.status(), Status::kTooLarge);
      return;
    }
    expect_status(r.status(), Status::kOk);
    expect(*r == (e != nullptr && e->value == expected), "another answer");
    if (*r) changed(k, v);
  }
  void compare_and_swap_version() {
    const std::string k = key(), v = value();
    const Known* e = live(k);
    const std::uint64_t version =
        e != nullptr && e->version != 0 && in_.byte() % 4 != 0 ? e->version : versions_[k] + 3;
    const auto r = call([&](auto& h) { return h.compare_and_swap_version(k, version, v); });
    if (refused(r.status())) return;
    if (v.size() > kValueMax) {
      expect_status(r.status(), Status::kTooLarge);
      return;
    }
    expect_status(r.status(), Status::kOk);
    if (e != nullptr && e->version == 0) {  // the model doesn't know its version
      if (*r) changed(k, v);
      return;
    }
    expect(*r == (e != nullptr && e->version == version), "another answer");
    if (*r) changed(k, v);
  }
  void compare_and_delete() {
    const std::string k = key();
    const Known* e = live(k);
    const std::string expected = e != nullptr && in_.byte() % 4 != 0 ? e->value : "no";
    const auto r = call([&](auto& h) { return h.compare_and_delete(k, expected); });
    expect_status(r.status(), Status::kOk);
    const bool equal = e != nullptr && e->value == expected;
    expect(*r == equal, "another answer");
    if (equal) removed(k);
  }
  void increment() {
    const std::string k = key();
    static constexpr std::int64_t kDeltas[] = {1, -1, 100, std::numeric_limits<std::int64_t>::max(),
                                               std::numeric_limits<std::int64_t>::min()};
    const std::int64_t delta = kDeltas[in_.byte() % 5];
    const auto r = call([&](auto& h) { return h.increment(k, delta, 5); });
    if (refused(r.status())) return;
    std::int64_t n = 5;
    if (const Known* e = live(k)) {
      const char* end = e->value.data() + e->value.size();
      const auto parsed = std::from_chars(e->value.data(), end, n);
      if (parsed.ec == std::errc::result_out_of_range) {
        expect(!r, "a number past the type was accepted");
        return;
      }
      if (parsed.ec != std::errc() || parsed.ptr != end) {
        expect_status(r.status(), Status::kWrongType);
        return;
      }
    }
    std::int64_t sum = 0;
    if (__builtin_add_overflow(n, delta, &sum)) {
      expect_status(r.status(), Status::kOutOfRange);
      return;
    }
    expect_status(r.status(), Status::kOk);
    expect(*r == sum, "another sum");
    changed(k, std::to_string(sum));
  }
  void increment_float() {
    const std::string k = key();
    const double delta = static_cast<int>(in_.byte()) / 8.0 - 10;
    const auto r = call([&](auto& h) { return h.increment_float(k, delta, 0.25); });
    if (refused(r.status())) return;
    double n = 0.25;
    if (const Known* e = live(k)) {
      const char* end = e->value.data() + e->value.size();
      const auto parsed = std::from_chars(e->value.data(), end, n);
      if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(n)) {
        expect(!r, "what is no number was accepted");
        return;
      }
    }
    expect_status(r.status(), Status::kOk);
    expect(*r == n + delta, "another sum");
    const auto text = store_.get(k);
    double back = 0;
    if (text) std::from_chars(text->data(), text->data() + text->size(), back);
    expect(text.found() && back == n + delta, "the text doesn't read back equal");
    if (text) changed(k, text->view());
  }
  void append() {
    const std::string k = key(), v = value();
    const auto r = call([&](auto& h) { return h.append(k, v); });
    if (refused(r.status())) return;
    const Known* e = live(k);
    const std::string whole = e != nullptr ? e->value + v : v;
    if (whole.size() > kValueMax) {
      expect_status(r.status(), Status::kTooLarge);
      return;
    }
    expect_status(r.status(), Status::kOk);
    expect(*r == whole.size(), "another size");
    // Nothing appended to what is there may be no change: the version is no longer known.
    changed(k, whole);
  }
  void update() {
    const std::string k = key();
    const unsigned choice = in_.byte() % 4;
    const std::string v = value();
    const Known* e = live(k);
    const auto r = call([&](auto& h) {
      return h.update(k, [&](std::optional<std::string_view> current) {
        expect(current.has_value() == (e != nullptr) && (e == nullptr || *current == e->value),
               "saw another value");
        return choice == 0 ? Update::keep() : choice == 1 ? Update::remove() : Update::replace(v);
      });
    });
    if (refused(r.status())) return;
    if (choice >= 2 && v.size() > kValueMax) {
      expect_status(r.status(), Status::kTooLarge);
      return;
    }
    expect_status(r.status(), Status::kOk);
    if (choice == 1) removed(k);
    if (choice >= 2) changed(k, v);
  }
  void expire() {
    const std::string k = key();
    const std::optional<milliseconds> t = ttl();
    const milliseconds by = t.value_or(milliseconds(20));
    const bool at = in_.byte() % 2 == 0 && by != milliseconds::max();
    const auto r =
        call([&](auto& h) { return at ? h.expire_at(k, clock_.at + by) : h.expire(k, by); });
    if (refused(r.status())) return;
    if (by == milliseconds::max()) {
      expect_status(r.status(), Status::kOutOfRange);
      return;
    }
    expect_status(r.status(), Status::kOk);
    Known* e = live(k);
    expect(*r == (e != nullptr), "another answer");
    if (e == nullptr) return;
    if (by.count() <= 0) {
      removed(k);
    } else {
      e->deadline = clock_.at + by;
      e->version = 0;  // a new version, or the old one when the deadline was changed in place
    }
  }
  void persist() {
    const std::string k = key();
    const auto r = call([&](auto& h) { return h.persist(k); });
    if (refused(r.status())) return;
    expect_status(r.status(), Status::kOk);
    Known* e = live(k);
    expect(*r == (e != nullptr && e->deadline.has_value()), "another answer");
    if (e != nullptr && e->deadline) {
      e->deadline.reset();
      e->version = 0;
    }
  }
  void publish() {
    const std::string k = key(), v = value();
    auto draft = call([&](auto& h) { return h.allocate(k, v.size()); });
    if (refused(draft.status())) return;
    if (v.size() > kValueMax) {
      expect_status(draft.status(), Status::kTooLarge);
      return;
    }
    expect_status(draft.status(), Status::kOk);
    if (!draft) return;
    if (!v.empty()) std::memcpy(draft->bytes().data(), v.data(), v.size());
    if (in_.byte() % 4 == 0) return;  // abandoned
    SetOptions o = set_options(k);
    o.if_version.reset();
    const auto r = draft->publish(o);
    if (refused(r.status())) return;
    const Status expected = judge(k, v.size(), o);
    expect_status(r.status(), expected);
    if (!r) {
      if (expected == Status::kExists || expected == Status::kNotFound) {
        const auto again = draft->publish();
        if (refused(again.status())) return;
        expect_status(again.status(), Status::kOk);
        if (again) wrote(k, v, std::nullopt, *again);
      }
      return;
    }
    expect(wrote(k, v, deadline_after(o, k), *r), "the version didn't grow");
  }
  std::vector<std::string> keys_of_call() {
    std::vector<std::string> keys(in_.byte() % 80);
    for (std::string& k : keys) k = key();
    return keys;
  }
  void get_many() {
    const std::vector<std::string> keys = keys_of_call();
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    const unsigned form = in_.byte() % 4;
    if (form == 3) {
      constexpr std::size_t kStride = 128;
      std::vector<char> out(keys.size() * kStride, '#');
      std::vector<Lookup<std::size_t>> answers(keys.size());
      const auto r = call([&](auto& h) { return h.get_many(asked, out.data(), kStride, answers); });
      expect_status(r.status(), Status::kOk);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        const Known* e = live(keys[i]);
        if (!found(answers[i], e)) continue;
        expect(*answers[i] == e->value.size(), "another size");
        if (*answers[i] <= kStride) expect_value({out.data() + i * kStride, *answers[i]}, e->value);
      }
      return;
    }
    if (form == 2) {
      std::size_t calls = 0;
      const auto r = call([&](auto& h) {
        return h.visit_many(asked, [&](std::size_t i, Lookup<std::string_view> v) {
          ++calls;
          const Known* e = live(keys[i]);
          expect(v.found() == (e != nullptr) && (e == nullptr || *v == e->value), "another value");
        });
      });
      expect_status(r.status(), Status::kOk);
      expect(calls == keys.size(), "another number of calls");
      return;
    }
    const auto r = call([&](auto& h) {
      return form == 1 ? h.get_many_at_one_moment(asked, values_) : h.get_many(asked, values_);
    });
    expect_status(r.status(), Status::kOk);
    expect(values_.size() == keys.size(), "another number of answers");
    for (std::size_t i = 0; i < keys.size() && i < values_.size(); ++i) {
      const Known* e = live(keys[i]);
      const Lookup<std::string_view> v = values_[i];
      if (found(v, e)) expect_value(*v, e->value);
    }
  }
  void set_many() {
    const std::vector<std::string> keys = keys_of_call();
    std::vector<std::string> contents(keys.size());
    std::vector<Item> items;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      contents[i] = value();
      items.push_back({keys[i], contents[i], ttl()});
    }
    std::vector<Result<std::uint64_t>> answers(items.size());
    const auto r = call([&](auto& h) { return h.set_many(items, answers); });
    expect_status(r.status(), Status::kOk);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (refused(answers[i].status())) continue;
      SetOptions o;
      o.ttl = items[i].ttl;
      expect_status(answers[i].status(), judge(keys[i], contents[i].size(), o));
      if (answers[i])
        expect(wrote(keys[i], contents[i], deadline_after(o, keys[i]), *answers[i]),
               "the version didn't grow");
    }
  }
  void del_many() {
    const std::vector<std::string> keys = keys_of_call();
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    std::vector<Result<bool>> answers(keys.size());
    const auto r = call([&](auto& h) { return h.del_many(asked, answers); });
    expect_status(r.status(), Status::kOk);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      expect_status(answers[i].status(), Status::kOk);
      expect(*answers[i] == (live(keys[i]) != nullptr), "another answer");
      removed(keys[i]);
    }
  }
  void get_or_load() {
    const std::string k = key(), v = value();
    const unsigned outcome = in_.byte() % 4;
    LoadOptions o;
    if (const auto t = ttl(); legal(t)) o.ttl = t;
    bool loaded = false;
    const auto r = call([&](auto& h) {
      return h.get_or_load(
          k,
          [&](std::string_view) {
            loaded = true;
            if (outcome == 0) return Loaded{};
            if (outcome == 1) return Loaded{Status::kUnavailable, {}, {}};
            return Loaded{Status::kOk, Value(v), {}};
          },
          o);
    });
    const Known* e = live(k);
    expect(loaded == (e == nullptr), "loaded what was there, or not what wasn't");
    if (e != nullptr) {
      expect_status(r.status(), Status::kOk);
      expect_value(r->view(), e->value);
    } else if (outcome == 0) {
      expect_status(r.status(), Status::kNotFound);
    } else if (outcome == 1) {
      expect_status(r.status(), Status::kUnavailable);
    } else {
      expect_status(r.status(), Status::kOk);
      expect_value(r->view(), v);
      const auto stored = store_.exists(k);  // not if it is too large or the store is full
      expect(*stored == (v.size() <= kValueMax) || may_be_full(), "wasn't stored");
      if (*stored) wrote(k, v, o.ttl ? std::optional(clock_.at + *o.ttl) : std::nullopt, 0);
    }
  }
  // Seldom, or nothing would live to be met again.
  void clear() {
    if (in_.byte() >= 64) return;
    const auto r = call([](auto& h) { return h.clear(); });
    expect_status(r.status(), Status::kOk);
    if (r) swept_.push_back(*r);
    entries_.clear();
    for (KnownLease& l : leases_) l.revoked = true;
  }
  void del_prefix() {
    if (in_.byte() >= 128) return;
    std::string prefix = key();
    prefix.resize(std::min<std::size_t>(prefix.size(), 1 + in_.below(4)));
    const auto r = call([&](auto& h) { return h.del_prefix(prefix); });
    expect_status(r.status(), Status::kOk);
    if (r) swept_.push_back(*r);
    std::erase_if(entries_, [&](const auto& e) { return e.first.starts_with(prefix); });
  }
  void del_tag() {
    const unsigned tag = in_.byte() % 3;
    const auto r = call([&](auto& h) { return h.del_tag(kTags[tag]); });
    expect_status(r.status(), Status::kOk);
    if (r) swept_.push_back(*r);
    std::erase_if(entries_, [&](const auto& e) { return (e.second.tags >> tag & 1) != 0; });
  }
  void lease() {
    const milliseconds t = ttl().value_or(200ms);
    const auto r = store_.lease(t);
    if (refused(r.status())) return;
    expect_status(r.status(), legal(t) ? Status::kOk : refusal(t));
    if (!r) return;
    expect(leases_.empty() || r->id() > leases_.back().lease.id(), "an id from before");
    leases_.push_back({*r, t, clock_.at + t, false});
  }
  void keep_alive() {
    KnownLease* const l = a_lease();
    if (l == nullptr) return;
    const auto r = l->lease.keep_alive();
    if (refused(r.status())) return;
    expect_status(r.status(), lives(*l) ? Status::kOk : Status::kNotFound);
    if (!r) return;
    l->deadline = clock_.at + l->ttl;
    const auto remaining = l->lease.remaining();
    expect(remaining.found() && *remaining == l->ttl, "another lifetime");
  }
  void revoke() {
    KnownLease* const l = a_lease();
    if (l == nullptr || in_.byte() >= 128) return;
    const auto r = l->lease.revoke();
    expect_status(r.status(), Status::kOk);
    expect(*r == lives(*l), "another answer");
    l->revoked = true;
    expect(l->lease.remaining().missing(), "it lives on");
  }
  void attach() {
    const std::string k = key();
    KnownLease* const l = a_lease();
    if (l == nullptr) return;
    const auto r = l->lease.attach(k);
    if (refused(r.status())) return;
    expect_status(r.status(), lives(*l) ? Status::kOk : Status::kNotFound);
    Known* const e = live(k);
    if (r) expect(*r == (e != nullptr), "another answer");
    if (r && e != nullptr) {
      e->lease = place_of(l);
      e->version = 0;
    }
    unsigned count = 0;
    for (const auto& [name, entry] : entries_) count += entry.lease == place_of(l) && live(name) != nullptr;
    const auto keys = l->lease.keys([&](std::string_view name) {
      const Known* const member = live(name);
      expect(member != nullptr && member->lease == place_of(l), "a key that isn't its own");
    });
    expect(keys.ok() && *keys == count, "another number of keys");
  }
  void advance() { clock_.at += milliseconds(in_.byte()); }
  void tick() {
    // A budget that ends in the middle of the work makes the rest depend on the machine's speed.
    const unsigned b = in_.byte();
    const std::chrono::microseconds budget =
        brief_ticks_ ? std::chrono::microseconds(b * 4) : b < 64 ? 0us : kLong;
    expect_status(store_.tick(budget).status(), Status::kOk);
    // A look at one key in full, for the transcript.
    const std::string k = key();
    const auto i = store_.inspect(k);
    Known* e = live(k);
    if (!found(i, e)) return;
    expect(i->key_bytes == k.size() && i->value_bytes == e->value.size(),
           "inspect tells other sizes");
    learn_version(k, *e, i->version);
    for (const std::uint64_t n :
         {i->stamp, std::uint64_t{i->shard}, i->bucket, std::uint64_t{i->slot}, i->block_bytes})
      note(n);
  }

  void check_whole() {
    op_ = "verify";
    std::string findings;
    const LogHook collect = [](void* to, const char* line) {
      *static_cast<std::string*>(to) += std::string("\n  ") + line;
    };
    if (!store_.verify(collect, &findings)) fail("verify: " + findings);
    const Stats s = store_.stats();
    std::size_t present = 0;
    for (const auto& [k, e] : entries_) present += live(k) != nullptr;
    expect(s.entries >= present, "stats counts too few entries");
    expect(s.memory_used_bytes <= s.memory_bytes, "more in use than the budget");
    for (const std::uint64_t n :
         {s.entries, s.hits, s.misses, s.sets, s.deletes, s.expired, s.memory_used_bytes,
          s.table_bytes, s.record_bytes, s.limbo_bytes, s.buckets, s.epoch}) {
      note(n);
    }
  }

  void finish() {
    check_whole();
    op_ = "at the end";
    for (const auto& [h, v] : held_) expect(h.view() == v, "a held value changed");
    held_.clear();
    for (const auto& [k, last] : versions_) {
      const auto r = store_.get(k);
      const Known* e = live(k);
      if (found(r, e)) expect_value(r->view(), e->value);
    }
    for (const auto& [k, last] : versions_) (void)store_.del(k);
    entries_.clear();
    for (const KnownLease& l : leases_) (void)l.lease.revoke();
    leases_.clear();
    for (int i = 0; i < 50; ++i) (void)store_.tick(kLong);
    expect(store_.stats().held_values == 0, "held values are left");
    expect(store_.stats().limbo_bytes == 0, "something stays in limbo");
    check_whole();
    for (const std::uint64_t id : swept_) {
      const auto r = store_.invalidated(id);
      expect(r.missing() ? swept_.size() > 256 : r.found() && r->done, "an invalidation isn't swept");
      if (r.found()) note(r->entries);
    }
  }
};

}  // namespace

SequenceResult run_operations(std::span<const std::uint8_t> bytes) { return Run(bytes).run(); }

}  // namespace tern::test
