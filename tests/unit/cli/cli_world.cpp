#include "tests/unit/cli/cli_world.h"

#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/app.h"
#include "dr/v1/api.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

// A service that tells the fixture what it has seen.
template <typename Calls>
class Of {
  public:
    explicit Of(Calls& calls) : calls_(calls) {}

  protected:
    Calls& calls_;
};

Status refusal(const std::string& field, const std::string& description) {
    google::rpc::BadRequest request;
    auto* violation = request.add_field_violations();
    violation->set_field(field);
    violation->set_description(description);
    google::rpc::Status details;
    details.set_code(StatusCode::INVALID_ARGUMENT);
    details.add_details()->PackFrom(request);
    return {StatusCode::INVALID_ARGUMENT, "1 field is wrong", details.SerializeAsString()};
}

class FakePools final : public dr::v1::Pools::Service, public Of<PoolsCalls> {
  public:
    using Of::Of;
    Status Get(ServerContext*, const dr::v1::GetRequest* request, dr::v1::Pool* pool) override {
        if (request->name() == "bad_name") {
            return refusal("name", "must be lower case");
        }
        if (request->name() != "tokyo-v4") {
            return {StatusCode::NOT_FOUND, "no pool is named " + request->name()};
        }
        pool->set_name("tokyo-v4");
        pool->set_prefix("203.0.113.0/24");
        pool->set_revision(7);
        return Status::OK;
    }
    Status Delete(ServerContext*, const dr::v1::DeleteRequest* request,
                  google::protobuf::Empty*) override {
        return request->revision() == 7 ? Status::OK : Status{StatusCode::ABORTED, ""};
    }
    // 2500 pools, by pages.
    Status List(ServerContext*, const dr::v1::ListRequest* request,
                dr::v1::ListPoolsResponse* response) override {
        constexpr std::uint64_t kPools = 2500;
        const auto begin = request->page_token().empty() ? 0 : std::stoull(request->page_token());
        const auto end = std::min<std::uint64_t>(kPools, begin + request->page_size());
        for (auto i = begin; i < end; ++i) {
            response->add_pools()->set_name(fmt::format("pool-{}", i));
        }
        response->set_next_page_token(end < kPools ? std::to_string(end) : "");
        ++calls_.list_calls;
        return Status::OK;
    }
};

// Refuses what is named "bad"; as drd, answers nothing of an atomic stream before its end.
class FakeResources final : public dr::v1::Resources::Service, public Of<ResourcesCalls> {
  public:
    using Of::Of;
    Status Apply(
        ServerContext*,
        grpc::ServerReaderWriter<dr::v1::ApplyResponse, dr::v1::ApplyRequest>* stream) override {
        dr::v1::ApplyRequest request;
        bool atomic = false;
        dr::v1::ApplyResponse all;
        while (stream->Read(&request)) {
            atomic = atomic || request.options().atomic();
            calls_.largest_message = std::max(calls_.largest_message, request.items_size());
            dr::v1::ApplyResponse response;
            for (const auto& item : request.items()) {
                *response.add_results() = result_of(item);
            }
            if (atomic) {
                all.MergeFrom(response);
            } else {
                stream->Write(response);
            }
        }
        if (calls_.interrupts) {
            std::raise(SIGINT);
        }
        if (atomic) {
            stream->Write(all);
        }
        return Status::OK;
    }

  private:
    dr::v1::ApplyResult result_of(const dr::v1::ApplyRequest::Item& item) {
        dr::v1::ApplyResult result;
        result.set_ordinal(item.ordinal());
        result.set_resource(fmt::format("pool/{}", item.resource().pool().name()));
        result.set_outcome(dr::v1::ApplyResult::CREATED);
        result.set_revision(3);
        calls_.last = item.resource();
        if (item.resource().pool().name() == "odd") {
            auto* warning = result.add_warnings();
            warning->set_field("pool.prefix");
            warning->set_description("hardly meant");
        }
        if (item.resource().pool().name() == "bad") {
            result.set_outcome(dr::v1::ApplyResult::REFUSED);
            auto* violation = result.add_violations();
            violation->set_field("pool.prefix");
            violation->set_description("host bits set");
        }
        return result;
    }
};

// Three snapshots of a watch: the second one lacks the last tunnel.
class FakeTunnels final : public dr::v1::Tunnels::Service, public Of<TunnelsCalls> {
  public:
    using Of::Of;
    Status Watch(ServerContext*, const dr::v1::WatchTunnelsRequest* request,
                 grpc::ServerWriter<dr::v1::ListTunnelsResponse>* writer) override {
        dr::v1::ListTunnelsResponse response;
        for (std::uint32_t id = 1; id <= request->filter().page_size(); ++id) {
            *response.add_tunnels() = status_of(id);
        }
        response.set_next_page_token("more");
        calls_.message_bytes = response.ByteSizeLong();
        auto fewer = response;
        fewer.mutable_tunnels()->RemoveLast();
        writer->Write(response);
        writer->Write(fewer);
        writer->Write(response);
        return Status::OK;
    }

  private:
    static dr::v1::TunnelStatus status_of(std::uint32_t id) {
        dr::v1::TunnelStatus status;
        status.set_subscriber("a-site-with-a-rather-long-name");
        status.mutable_tunnel()->set_id(id);
        status.mutable_tunnel()->set_line("a");
        status.mutable_tunnel()->set_local("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
        status.set_state(dr::v1::TunnelStatus::UP);
        status.mutable_counters()->set_incarnation("00000000-0000-0000-0000-000000000000");
        auto& live = *status.mutable_liveness();
        live.set_endpoint("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:50000");
        live.set_cause("no keepalive received for the detection time");
        for (int i = 0; i < 3; ++i) {
            auto& window = *live.add_windows();
            window.set_seconds(60);
            window.set_rtt_max_us(4'000'000);
            window.set_loss_uplink_permille(1000);
        }
        return status;
    }
};

class FakeSystem final : public dr::v1::System::Service, public Of<SystemCalls> {
  public:
    using Of::Of;
    Status GetStatus(ServerContext*, const google::protobuf::Empty*,
                     dr::v1::SystemStatus* status) override {
        status->set_dataplane_state(dr::v1::SystemStatus::IN_SYNC);
        status->set_store_revision(5);
        status->set_installed_revision(++calls_.calls < calls_.behind_for ? 4 : 5);
        return Status::OK;
    }
    Status ListExits(ServerContext*, const google::protobuf::Empty*,
                     dr::v1::ListExitsResponse*) override {
        return {StatusCode::UNAVAILABLE, "the data plane is away"};
    }
    // Two samples, then the end, as when drd stops.
    Status WatchCounters(ServerContext*, const dr::v1::WatchCountersRequest*,
                         grpc::ServerWriter<dr::v1::CountersSnapshot>* writer) override {
        dr::v1::CountersSnapshot snapshot;
        for (std::uint64_t i = 1; i <= 2; ++i) {
            (*snapshot.mutable_counters())["drop.no_route"] = 10 * i;
            snapshot.set_sampled_at_ns(1'000'000'000 * i);
            writer->Write(snapshot);
        }
        return Status::OK;
    }
};

std::FILE* file_with(const std::string& text) {
    std::FILE* file = std::tmpfile();
    std::fwrite(text.data(), 1, text.size(), file);
    std::rewind(file);
    return file;
}

}  // namespace

Result run_at(const std::string& server, const std::vector<std::string>& arguments,
              const std::string& input) {
    std::array<char*, 2> text{};
    std::array<std::size_t, 2> size{};
    dr::cli::Context context;
    context.in = file_with(input);
    context.out = open_memstream(&text[0], &size[0]);
    context.err = open_memstream(&text[1], &size[1]);
    context.options.server = server;
    Result result;
    result.code = dr::cli::run(context, arguments);
    std::fclose(context.in);
    std::fclose(context.out);
    std::fclose(context.err);
    result.out.assign(text[0], size[0]);
    result.err.assign(text[1], size[1]);
    std::free(text[0]);
    std::free(text[1]);
    return result;
}

struct Fixture::Server {
    explicit Server(Fixture& seen)
        : pools(seen.pools), resources(seen.resources), system(seen.system), tunnels(seen.tunnels) {
        std::string pattern = (std::filesystem::temp_directory_path() / "drcli-XXXXXX").string();
        directory = mkdtemp(pattern.data());
        address = "unix:" + directory + "/drd.sock";
        grpc::ServerBuilder builder;
        builder.AddListeningPort(address, grpc::InsecureServerCredentials());
        builder.RegisterService(&pools);
        builder.RegisterService(&resources);
        builder.RegisterService(&system);
        builder.RegisterService(&tunnels);
        server = builder.BuildAndStart();
    }
    ~Server() {
        server->Shutdown();
        std::filesystem::remove_all(directory);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    FakePools pools;
    FakeResources resources;
    FakeSystem system;
    FakeTunnels tunnels;
    std::string directory;
    std::string address;
    std::unique_ptr<grpc::Server> server;
};

Fixture::Fixture() : server_(std::make_unique<Server>(*this)) {}
Fixture::~Fixture() = default;

Result Fixture::run(const std::vector<std::string>& arguments, const std::string& input) const {
    return run_at(server_->address, arguments, input);
}

std::string pool(const std::string& name) {
    return R"({"pool": {"name": ")" + name + "\"}}";
}
