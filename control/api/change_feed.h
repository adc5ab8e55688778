// Distributes committed changes of subscribers to the watchers.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "control/model/catalog.h"

namespace dr::control {

class ChangeFeed {
  public:
    // Events that may wait for one watcher. A watcher with more is told to start again.
    static constexpr std::size_t kMaxWaiting = 20'000;

    struct Event {
        bool deleted;
        std::shared_ptr<const v1::Subscriber> subscriber;
    };

    class Watcher {
      public:
        // The events since the last call. Waits at most `time` for the first.
        std::vector<Event> take(std::chrono::milliseconds time);
        [[nodiscard]] bool overflowed();

      private:
        friend class ChangeFeed;
        std::mutex mutex_;
        std::condition_variable changed_;
        std::deque<Event> events_;
        bool overflowed_ = false;
    };

    // Receives every change that is published from now on.
    std::shared_ptr<Watcher> watch();
    // The catalog's listener: in the order of the commits.
    void publish(const std::vector<CommittedChange>& changes);

  private:
    std::mutex mutex_;
    std::vector<std::weak_ptr<Watcher>> watchers_;
};

}  // namespace dr::control
