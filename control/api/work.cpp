// Runs unary calls on a few threads; connections take turns.
#include "control/api/work.h"

namespace dr::control {

Work::~Work() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void Work::add(const Caller& caller, std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    Queue& queue = queues_[caller.connection];
    queue.client = caller.client;
    queue.jobs.push_back(std::move(job));
    if (idle_ == 0 && threads_.size() < kMostThreads)
        threads_.emplace_back([this] { run(); });
    else
        changed_.notify_one();
}

Work::Queues::iterator Work::next() {
    auto at = queues_.upper_bound(turn_);
    for (std::size_t i = 0; i < queues_.size(); ++i, ++at) {
        if (at == queues_.end()) at = queues_.begin();
        const Queue& queue = at->second;
        const auto client = clients_.find(queue.client);
        if (!queue.jobs.empty() && queue.running < kMostOfConnection &&
            (client == clients_.end() || client->second < kMostOfClient))
            return at;
    }
    return queues_.end();
}

void Work::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto at = next();
        if (at == queues_.end()) {
            if (ended_) return;
            ++idle_;
            changed_.wait(lock);
            --idle_;
            continue;
        }
        turn_ = at->first;
        Queue& queue = at->second;
        const auto job = std::move(queue.jobs.front());
        queue.jobs.pop_front();
        ++queue.running;
        ++clients_[queue.client];
        lock.unlock();
        job();
        lock.lock();
        --queue.running;
        const auto client = clients_.find(queue.client);
        if (--client->second == 0) clients_.erase(client);
        if (queue.jobs.empty() && queue.running == 0) queues_.erase(at);
    }
}

}  // namespace dr::control
