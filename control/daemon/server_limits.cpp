// Memory and plugin limits of both gRPC servers; gives free memory back.
#include "control/daemon/server_limits.h"

#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/resource_quota.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace dr::control {
namespace {

constexpr std::chrono::seconds kTrimEvery{3};
constexpr std::size_t kLeastQuota = std::size_t{256} << 20;

class NoPlugins final : public grpc::ServerBuilderOption {
  public:
    void UpdateArguments(grpc::ChannelArguments*) override {}
    void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
        plugins->clear();
    }
};

}  // namespace

void without_plugins(grpc::ServerBuilder& builder) {
    builder.SetOption(std::make_unique<NoPlugins>());
}

void limit_memory(grpc::ServerBuilder& builder, const char* name, int threads) {
    const auto pages = static_cast<std::size_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    grpc::ResourceQuota quota(name);
    quota.Resize(std::max(kLeastQuota, pages * page / 4));
    if (threads != 0) quota.SetMaxThreads(threads);
    builder.SetResourceQuota(quota);
}

struct HeapTrimmer::State {
    std::mutex mutex;
    std::condition_variable changed;
    bool stop = false;
    std::thread thread;
};

HeapTrimmer::HeapTrimmer() : state_(std::make_unique<State>()) {
    state_->thread = std::thread([&state = *state_] {
        std::unique_lock lock(state.mutex);
        while (!state.changed.wait_for(lock, kTrimEvery, [&] { return state.stop; })) {
            lock.unlock();
            ::malloc_trim(0);
            lock.lock();
        }
    });
}

HeapTrimmer::~HeapTrimmer() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stop = true;
    }
    state_->changed.notify_all();
    state_->thread.join();
}

}  // namespace dr::control
