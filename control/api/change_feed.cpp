// Queues committed changes for each watcher.
#include "control/api/change_feed.h"

namespace dr::control {

std::vector<ChangeFeed::Event> ChangeFeed::Watcher::take(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return !events_.empty(); });
    std::vector<Event> out(std::make_move_iterator(events_.begin()),
                           std::make_move_iterator(events_.end()));
    events_.clear();
    return out;
}

bool ChangeFeed::Watcher::overflowed() {
    const std::lock_guard lock(mutex_);
    return overflowed_;
}

std::shared_ptr<ChangeFeed::Watcher> ChangeFeed::watch() {
    auto watcher = std::make_shared<Watcher>();
    const std::lock_guard lock(mutex_);
    watchers_.push_back(watcher);
    return watcher;
}

void ChangeFeed::publish(const std::vector<CommittedChange>& changes) {
    const std::lock_guard lock(mutex_);
    std::erase_if(watchers_, [](const auto& w) { return w.expired(); });
    if (watchers_.empty()) return;
    for (const auto& change : changes) {
        const auto* subscriber = std::get_if<v1::Subscriber>(change.object.get());
        if (subscriber == nullptr) continue;
        const Event event{change.deleted, {change.object, subscriber}};
        for (const auto& weak : watchers_) {
            const auto watcher = weak.lock();
            if (!watcher) continue;
            const std::lock_guard guard(watcher->mutex_);
            if (watcher->events_.size() >= kMaxWaiting)
                watcher->overflowed_ = true;
            else if (!watcher->overflowed_)
                watcher->events_.push_back(event);
            watcher->changed_.notify_one();
        }
    }
}

}  // namespace dr::control
