// Changes: what each write wants of commit(), as a judgement on the key's state and the record that replaces it.
//
// A Change owns the record that it builds until it is published; one that was never published was never seen.
#ifndef TERN_ENGINE_CHANGES_H_
#define TERN_ENGINE_CHANGES_H_

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <tern/status.h>

#include "engine/commit.h"
#include "engine/space.h"
#include "simd/key_equal.h"

namespace tern::detail {

// A string_view that is copied a word at a time. Copied as one, by the sixteen bytes of a vector register, it waits for
// the two stores that put it into memory a moment before: five nanoseconds of a set.
struct Text {
  const char* data;
  std::size_t size;
  [[gnu::always_inline]] Text(std::string_view text) noexcept : data(text.data()), size(text.size()) {
    __asm__("" : "+r"(data), "+r"(size));
  }
  [[gnu::always_inline]] operator std::string_view() const noexcept { return {data, size}; }
};

// What every Change has: the record in the making.
template <class Sync>
class ChangeBase {
 public:
  using Thr = Thread<Sync>;
  using HeadT = Head<Sync>;

  ChangeBase(Space<Sync>& space, Thr& t, std::string_view key) noexcept
      : space_(space), thread_(t), key_(key) {}
  ~ChangeBase() { discard(); }
  ChangeBase(const ChangeBase&) = delete;
  ChangeBase& operator=(const ChangeBase&) = delete;

  static constexpr bool kInheritsKeep = true;
  static constexpr RemovalCause kCause = RemovalCause::kDeleted;
  static constexpr bool kHelps = true;
  static constexpr bool kDerives = true;
  static constexpr bool kSilent = false;
  static constexpr bool kMaySayAbsent = false;
  bool depends() const noexcept { return true; }
  void used() noexcept { record_ = 0; }
  void replace_record(std::uint64_t copy) noexcept { record_ = copy; }

  bool existed = false;  // of the head judged last
  bool expired = false;
  std::string_view tags{};         // of the record in the making: a block (tags.h)
  std::uint64_t bytes_wanted = 0;  // about what the record takes that was asked for last

 protected:
  void note(const HeadT& head) noexcept {
    existed = head.present;
    expired = head.expired;
  }
  // What changes a value leaves the entry its tags, its lease and its metadata.
  void inherit_tags(const HeadT& head) noexcept {
    tags = tags_of(head);
  }
  std::string_view tags_of(const HeadT& head) const noexcept {
    return head.present && head.stamp.has_ext() ? space_.tags_of(*head.record, head.stamp) : std::string_view{};
  }
  void discard() noexcept {
    if (record_ != 0) space_.discard(thread_, record_);
    record_ = 0;
  }
  // A fresh record with room for `value_size` bytes; null: no memory.
  char* build(std::uint64_t value_size, bool has_deadline, std::uint64_t deadline_ms, Span span = Span()) noexcept {
    discard();
    bytes_wanted = kRecordHeaderBytes + key_.size + value_size + tags.size();
    const auto built = space_.build(
        thread_, {key_, value_size, has_deadline, deadline_ms, absent_, keep_, has_deadline ? span : Span(), tags});
    record_ = built.offset;
    return built.value;
  }
  void adopt(std::uint64_t record, std::uint64_t value_size) noexcept {
    bytes_wanted = kRecordHeaderBytes + key_.size + value_size;
    record_ = record;
  }
  std::uint64_t build_from(std::string_view value, bool has_deadline, std::uint64_t deadline_ms,
                           Span span = Span()) noexcept {
    char* to = build(value.size(), has_deadline, deadline_ms, span);
    if (to != nullptr) simd::copy_bytes(to, value.data(), value.size());
    return record_;
  }

  Space<Sync>& space_;
  Thr& thread_;
  Text key_;
  std::uint64_t record_ = 0;
  bool absent_ = false;
  bool keep_ = false;
};

// set without conditions.
template <class Sync>
class PutChange : public ChangeBase<Sync> {
 public:
  static constexpr bool kInheritsKeep = false;
  static constexpr bool kDerives = false;
  PutChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view value) noexcept
      : ChangeBase<Sync>(space, t, key), value_(value) {
    this->build_from(value, false, 0);  // before the bucket is looked at, whose fetch this overlaps
  }
  // The short way (writes-inl.h) had to stop. `built`: the record that it has made; 0: none.
  PutChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view value, std::uint64_t built) noexcept
      : ChangeBase<Sync>(space, t, key), value_(value) {
    if (built == 0) {
      this->build_from(value, false, 0);
    } else {
      this->adopt(built, value.size());
    }
  }
  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    return Decision::kPut;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept {
    // Without memory at first, once more: commit has reclaimed meanwhile what it could.
    return this->record_ != 0 ? this->record_ : this->build_from(value_, false, 0);
  }

 private:
  Text value_;
};

// Conditions of a set, and where the previous value goes.
struct SetTerms {
  bool if_absent = false;
  bool if_present = false;
  bool keep_deadline = false;
  std::optional<std::uint64_t> if_version;
  bool has_deadline = false;
  std::uint64_t deadline_ms = 0;
  bool keep = false;  // never evicted
  Span span{};
  std::string_view tags{};  // a block
  bool keep_metadata = false;
  TagBlock* block = nullptr;  // of `tags`; where metadata are put that are kept
};

// Copies the previous value somewhere; answers false if there is no memory.
using CopyFn = bool (*)(void* to, std::string_view value);

template <class Sync>
class SetChange : public ChangeBase<Sync> {
 public:
  using Base = ChangeBase<Sync>;
  static constexpr bool kInheritsKeep = false;
  static constexpr bool kMaySayAbsent = true;
  SetChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view value,
            const SetTerms& terms) noexcept
      : Base(space, t, key), value_(value), terms_(terms) {
    this->keep_ = terms.keep;
    this->tags = terms.tags;
  }
  // Publishes what the caller has filled in; keeps hold of it until then.
  SetChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, const SetTerms& terms,
            std::uint64_t draft) noexcept
      : Base(space, t, key), terms_(terms), draft_(true) {
    this->record_ = draft;
  }
  bool depends() const noexcept {
    return terms_.if_present || terms_.if_version || terms_.keep_deadline || terms_.keep_metadata || copy_ != nullptr;
  }
  // Remembers that there is no such thing instead of a value.
  void say_absent() noexcept { this->absent_ = true; }
  void copy_previous(CopyFn copy, void* to) noexcept {
    copy_ = copy;
    copy_to_ = to;
  }
  // A draft that wasn't published goes back to its owner.
  std::uint64_t take_back() noexcept {
    const std::uint64_t r = this->record_;
    this->record_ = 0;
    return r;
  }

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    status = Status::kOk;
    if (terms_.if_absent && head.present) status = Status::kExists;
    if (terms_.if_present && !head.present) status = Status::kNotFound;
    if (terms_.if_version && !(head.present && head.version == *terms_.if_version)) status = Status::kMismatch;
    if (status != Status::kOk) return Decision::kKeep;
    if (copy_ != nullptr && !copy_(copy_to_, head.present ? head.bytes() : std::string_view{})) {
      status = Status::kOutOfMemory;
      return Decision::kKeep;
    }
    return Decision::kPut;
  }

  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    const bool inherit = terms_.keep_deadline && head.present && head.has_deadline;
    if (draft_) {
      // A draft has the deadline's word.
      const std::uint64_t ms = inherit ? head.deadline_ms : terms_.has_deadline ? terms_.deadline_ms : Deadline::kNever;
      auto& r = *this->space_.record(this->record_);
      r.x().store(Deadline::at(ms).word(), std::memory_order_relaxed);  // [publish] comes with the slot's swap
      r.meta.store(Hold(r.meta.load(std::memory_order_relaxed)).kept(terms_.keep).word(), std::memory_order_relaxed);  // [publish]
      return this->record_;
    }
    if (terms_.keep_metadata) [[unlikely]] {
      terms_.block->set_metadata(metadata_in(this->tags_of(head)));
      this->tags = terms_.block->block();
    } else if (this->record_ != 0 && !terms_.keep_deadline) {
      return this->record_;
    }
    return this->build_from(value_, inherit || terms_.has_deadline, inherit ? head.deadline_ms : terms_.deadline_ms,
                            inherit ? head.span : terms_.span);
  }

  Status status = Status::kOk;

 private:
  std::string_view value_;
  SetTerms terms_;
  bool draft_ = false;
  CopyFn copy_ = nullptr;
  void* copy_to_ = nullptr;
};

// del, get_and_del, compare_and_delete, expire(<= 0).
template <class Sync>
class RemoveChange : public ChangeBase<Sync> {
 public:
  RemoveChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key) noexcept : ChangeBase<Sync>(space, t, key) {}
  void only_if_version(std::uint64_t version) noexcept { version_ = version; }
  // `expected` must live as long as this.
  void only_if(const std::string_view& expected) noexcept { expected_ = &expected; }
  void copy_previous(CopyFn copy, void* to) noexcept {
    copy_ = copy;
    copy_to_ = to;
  }

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    status = Status::kOk;
    if (!head.present) return Decision::kRemove;  // an expired record is buried, a tomb is left alone
    if ((expected_ != nullptr && head.bytes() != *expected_) || (version_ != 0 && head.version != version_)) {
      this->existed = false;
      return Decision::kKeep;
    }
    if (copy_ != nullptr && !copy_(copy_to_, head.bytes())) {
      status = Status::kOutOfMemory;
      return Decision::kKeep;
    }
    return Decision::kRemove;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>&) noexcept { return 0; }

  Status status = Status::kOk;

 private:
  const std::string_view* expected_ = nullptr;
  std::uint64_t version_ = 0;  // 0: any
  CopyFn copy_ = nullptr;
  void* copy_to_ = nullptr;
};

// A lifetime that is over as it is given.
template <class Sync>
class ExpireNowChange : public RemoveChange<Sync> {
 public:
  static constexpr RemovalCause kCause = RemovalCause::kExpired;
  using RemoveChange<Sync>::RemoveChange;
};

// What a full store does to the key of a set that it drops: what it had would be read after the set.
template <class Sync>
class DropChange : public RemoveChange<Sync> {
 public:
  static constexpr RemovalCause kCause = RemovalCause::kEvicted;
  using RemoveChange<Sync>::RemoveChange;
};

// compare_and_swap by value or version: keeps the deadline.
template <class Sync>
class SwapChange : public ChangeBase<Sync> {
 public:
  SwapChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view desired) noexcept
      : ChangeBase<Sync>(space, t, key), desired_(desired) {}
  void expect_value(std::string_view value) noexcept { value_ = value; }
  void expect_version(std::uint64_t version) noexcept { version_ = version; }

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    const bool equal = head.present && (!value_ || head.bytes() == *value_) && (!version_ || head.version == *version_);
    return equal ? Decision::kPut : Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    this->inherit_tags(head);
    return this->build_from(desired_, head.has_deadline, head.deadline_ms, head.span);
  }

 private:
  std::string_view desired_;
  std::optional<std::string_view> value_;
  std::optional<std::uint64_t> version_;
};

// append: keeps the deadline.
template <class Sync>
class AppendChange : public ChangeBase<Sync> {
 public:
  AppendChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view tail,
               std::uint64_t size_max) noexcept
      : ChangeBase<Sync>(space, t, key), tail_(tail), size_max_(size_max) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    const std::uint64_t before = head.present ? head.value_size : 0;
    too_large = tail_.size() > size_max_ || before > size_max_ - tail_.size();
    size = before + tail_.size();
    return too_large ? Decision::kKeep : Decision::kPut;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    const std::uint64_t before = head.present ? head.value_size : 0;
    this->inherit_tags(head);
    char* to = this->build(before + tail_.size(), head.present && head.has_deadline, head.deadline_ms, head.span);
    if (to == nullptr) return 0;
    if (before != 0) std::memcpy(to, head.value, before);
    if (!tail_.empty()) std::memcpy(to + before, tail_.data(), tail_.size());
    return this->record_;
  }

  bool too_large = false;
  std::uint64_t size = 0;

 private:
  std::string_view tail_;
  std::uint64_t size_max_;
};

// increment and increment_float: decimal text, keeps the deadline.
template <class Sync, class Number>
class AddChange : public ChangeBase<Sync> {
 public:
  AddChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, Number delta, Number initial) noexcept
      : ChangeBase<Sync>(space, t, key), delta_(delta), initial_(initial) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    status = Status::kOk;
    Number before = initial_;
    if (head.present) {
      const std::from_chars_result parsed = std::from_chars(head.value, head.value + head.value_size, before);
      if (parsed.ec == std::errc::invalid_argument || parsed.ptr != head.value + head.value_size) {
        status = Status::kWrongType;
      } else if (parsed.ec != std::errc()) {
        status = Status::kOutOfRange;
      }
    }
    if (status == Status::kOk && !add(before)) status = Status::kOutOfRange;
    return status == Status::kOk ? Decision::kPut : Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    char text[192];  // a number takes 24; copy_bytes has a branch that could read 128 and a compiler that warns of it
    const std::to_chars_result end = std::to_chars(text, text + sizeof text, sum);
    this->inherit_tags(head);
    return this->build_from({text, static_cast<std::size_t>(end.ptr - text)}, head.present && head.has_deadline,
                            head.deadline_ms, head.span);
  }

  Status status = Status::kOk;
  Number sum{};

 private:
  bool add(Number before) noexcept {
    if constexpr (std::is_integral_v<Number>) {
      return !__builtin_add_overflow(before, delta_, &sum);
    } else {
      sum = before + delta_;
      return std::isfinite(sum);
    }
  }
  Number delta_;
  Number initial_;
};

// update: Fn(std::optional<std::string_view>) answers an object with kind() and value(); keeps the deadline.
template <class Sync, class Fn, class Answer>
class UpdateChange : public ChangeBase<Sync> {
 public:
  static constexpr unsigned kAttemptsMax = 64;
  UpdateChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, Fn& fn, std::uint64_t size_max) noexcept
      : ChangeBase<Sync>(space, t, key), fn_(fn), size_max_(size_max) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    status = Status::kOk;
    if (++attempts_ > kAttemptsMax) {
      status = Status::kConflict;
      return Decision::kKeep;
    }
    answer = fn_(head.present ? std::optional<std::string_view>(head.bytes()) : std::nullopt);
    switch (answer.kind()) {
      case Answer::Kind::kReplace:
        if (answer.value().size() > size_max_) {
          status = Status::kTooLarge;
          return Decision::kKeep;
        }
        return Decision::kPut;
      case Answer::Kind::kRemove:
        return Decision::kRemove;
      case Answer::Kind::kKeep:
        break;
    }
    return Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    this->inherit_tags(head);
    return this->build_from(answer.value(), head.present && head.has_deadline, head.deadline_ms, head.span);
  }

  Status status = Status::kOk;
  Answer answer = Answer::keep();

 private:
  Fn& fn_;
  std::uint64_t size_max_;
  unsigned attempts_ = 0;
};

// expire where the record has no word for a deadline, or a frozen one: the same value in a record that has.
template <class Sync>
class DeadlineChange : public ChangeBase<Sync> {
 public:
  static constexpr bool kSilent = true;  // as when the deadline moves in place
  DeadlineChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::uint64_t deadline_ms,
                 Span span = Span()) noexcept
      : ChangeBase<Sync>(space, t, key), deadline_ms_(deadline_ms), span_(span) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    had_deadline = head.present && head.has_deadline;
    if (!head.present) return Decision::kKeep;
    if (deadline_ms_ == Deadline::kNever && !head.has_deadline) return Decision::kKeep;
    return Decision::kPut;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    this->inherit_tags(head);
    return this->build_from(head.bytes(), deadline_ms_ != Deadline::kNever, deadline_ms_, span_);
  }

  bool had_deadline = false;

 private:
  std::uint64_t deadline_ms_;
  Span span_;
};

// The same entry with other metadata: a change that is told, as anybody who mirrors entries has to know.
template <class Sync>
class MetadataChange : public ChangeBase<Sync> {
 public:
  MetadataChange(Space<Sync>& space, Thread<Sync>& t, std::string_view key, std::string_view metadata) noexcept
      : ChangeBase<Sync>(space, t, key), metadata_(metadata) {}

  Decision judge(const Head<Sync>& head) noexcept {
    this->note(head);
    return head.present ? Decision::kPut : Decision::kKeep;
  }
  std::uint64_t record(Thread<Sync>&, const Head<Sync>& head) noexcept {
    block_.set_metadata(this->tags_of(head), metadata_);
    this->tags = block_.block();
    return this->build_from(head.bytes(), head.has_deadline, head.deadline_ms, head.span);
  }

 private:
  std::string_view metadata_;
  TagBlock block_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_CHANGES_H_
