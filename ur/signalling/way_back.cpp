// The files of the last good attachment and of the one gone back from.
#include "ur/signalling/way_back.h"

#include <algorithm>

namespace dr::ur {

namespace {

std::string beside(const std::string& path, const char* name) {
    return path.empty() ? path : path + name;
}

// A store that was put back numbers the same content differently.
bool same(const v1::Attachment& a, const v1::Attachment& b) {
    const auto content = [](v1::Attachment attachment) {
        attachment.clear_generation();
        attachment.clear_notes();
        return attachment.SerializeAsString();
    };
    return content(a) == content(b);
}

}  // namespace

WayBack::WayBack(const std::string& path, Duration after)
    : after_(after),
      good_file_(beside(path, ".good")),
      aside_file_(beside(path, ".aside")),
      patience_(after) {}

std::optional<v1::Attachment> WayBack::start(AttachmentCache& current,
                                             const std::string& subscriber, Time now,
                                             std::string& why) {
    current_ = current.load(subscriber, why);
    good_ = good_file_.load(subscriber, why);
    aside_ = aside_file_.load(subscriber, why);
    // urd went back from it, and was killed before it wrote the previous one.
    if (current_ && aside_ && same(*current_, *aside_)) current_ = good_;
    if (!current_) current_ = good_;
    if (!good_ && current_) {
        good_ = current_;
        // What is in force next takes the place of the only file that has it.
        if (std::string failed = good_file_.save(*good_); !failed.empty()) why = std::move(failed);
    }
    applied_at_ = now;
    proven_ = !aside_ && (!current_ || same(*current_, *good_));
    due_ = now + patience_;
    return current_;
}

void WayBack::applied(const v1::Attachment& attachment, Time now) {
    if (aside_) aside_file_.remove();
    aside_.reset();
    if (current_ && same(*current_, attachment)) {
        current_ = attachment;
        return;
    }
    current_ = attachment;
    applied_at_ = now;
    patience_ = after_;
    due_ = now + patience_;
    proven_ = good_ && same(*good_, attachment);
}

std::string WayBack::worked() {
    if (!proven_) {
        proven_ = true;
        patience_ = after_;
        if (current_) good_ = current_;
        unsaved_ = current_.has_value();
    }
    if (!unsaved_) return {};
    std::string why = good_file_.save(*good_);
    unsaved_ = !why.empty();
    if (unsaved_) why += "; after a restart an older attachment is the one to go back to";
    return why;
}

std::string WayBack::answered(Time since) {
    return since >= applied_at_ ? worked() : std::string();
}

std::string WayBack::stands(Time since) {
    return since >= applied_at_ ? worked() : std::string();
}

WayBack::Time WayBack::due() const {
    return proven_ ? Time::max() : due_;
}

WayBack::Time WayBack::proof_due(Duration proven_after) const {
    return proven_ ? Time::max() : applied_at_ + proven_after;
}

v1::Attachment WayBack::other() const {
    if (aside_) return *aside_;
    return good_ ? *good_ : v1::Attachment();
}

std::string WayBack::gone_back(AttachmentCache& current, Time now) {
    std::string why;
    if (aside_) {
        current_ = std::move(aside_);
        aside_.reset();
        aside_file_.remove();
    } else {
        aside_ = std::move(current_);
        current_ = good_;
        why = aside_file_.save(*aside_);
    }
    if (current_)
        if (std::string failed = current.save(*current_); !failed.empty()) why = std::move(failed);
    applied_at_ = now;
    proven_ = false;
    stay(now);
    return why;
}

void WayBack::stay(Time now) {
    patience_ = std::min(patience_ * 2, after_ * kLongest);
    due_ = now + patience_;
}

std::string WayBack::words() const {
    const auto number = [](const std::optional<v1::Attachment>& a) {
        return "generation " + std::to_string(a ? a->generation() : 0);
    };
    return number(aside_) + " cut signalling: it did not come back in " +
           std::to_string(std::chrono::duration_cast<std::chrono::seconds>(after_).count()) +
           " s, so " + (current_ ? number(current_) : std::string("nothing")) +
           " is in force; change what it says of the site, and it is tried again";
}

std::string WayBack::declines(const v1::Attachment& attachment) const {
    return aside_ && same(*aside_, attachment) ? words() : std::string();
}

std::optional<v1::Declined> WayBack::aside() const {
    if (!aside_) return std::nullopt;
    v1::Declined out;
    out.set_generation(aside_->generation());
    out.set_why(words());
    return out;
}

}  // namespace dr::ur
