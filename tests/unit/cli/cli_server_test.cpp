// drcli's commands against a small server in the same process, whose answers the tests choose.
#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/app.h"
#include "dr/v1/api.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

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

class FakePools final : public dr::v1::Pools::Service {
  public:
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
        ++list_calls;
        return Status::OK;
    }
    int list_calls = 0;
};

// Refuses what is named "bad"; as drd, answers nothing of an atomic stream before its end.
class FakeResources final : public dr::v1::Resources::Service {
  public:
    Status Apply(
        ServerContext*,
        grpc::ServerReaderWriter<dr::v1::ApplyResponse, dr::v1::ApplyRequest>* stream) override {
        dr::v1::ApplyRequest request;
        bool atomic = false;
        dr::v1::ApplyResponse all;
        while (stream->Read(&request)) {
            atomic = atomic || request.options().atomic();
            largest_message = std::max(largest_message, request.items_size());
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
        if (interrupts) {
            std::raise(SIGINT);
        }
        if (atomic) {
            stream->Write(all);
        }
        return Status::OK;
    }
    bool interrupts = false;  // presses Ctrl-C when it has read all
    int largest_message = 0;
    dr::v1::Resource last;

  private:
    dr::v1::ApplyResult result_of(const dr::v1::ApplyRequest::Item& item) {
        dr::v1::ApplyResult result;
        result.set_ordinal(item.ordinal());
        result.set_resource(fmt::format("pool/{}", item.resource().pool().name()));
        result.set_outcome(dr::v1::ApplyResult::CREATED);
        result.set_revision(3);
        last = item.resource();
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
class FakeTunnels final : public dr::v1::Tunnels::Service {
  public:
    Status Watch(ServerContext*, const dr::v1::WatchTunnelsRequest* request,
                 grpc::ServerWriter<dr::v1::ListTunnelsResponse>* writer) override {
        dr::v1::ListTunnelsResponse response;
        for (std::uint32_t id = 1; id <= request->filter().page_size(); ++id) {
            *response.add_tunnels() = status_of(id);
        }
        response.set_next_page_token("more");
        message_bytes = response.ByteSizeLong();
        auto fewer = response;
        fewer.mutable_tunnels()->RemoveLast();
        writer->Write(response);
        writer->Write(fewer);
        writer->Write(response);
        return Status::OK;
    }
    std::size_t message_bytes = 0;

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

class FakeSystem final : public dr::v1::System::Service {
  public:
    Status GetStatus(ServerContext*, const google::protobuf::Empty*,
                     dr::v1::SystemStatus* status) override {
        status->set_dataplane_state(dr::v1::SystemStatus::IN_SYNC);
        status->set_store_revision(5);
        status->set_installed_revision(++calls < behind_for ? 4 : 5);
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
    int calls = 0;
    int behind_for = 3;
};

struct Result {
    int code = -1;
    std::string out;
    std::string err;
};

std::FILE* file_with(const std::string& text) {
    std::FILE* file = std::tmpfile();
    std::fwrite(text.data(), 1, text.size(), file);
    std::rewind(file);
    return file;
}

Result run_at(const std::string& server, const std::vector<std::string>& arguments,
              const std::string& input = "") {
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

class Fixture {
  public:
    Fixture() {
        std::string pattern = (std::filesystem::temp_directory_path() / "drcli-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
        address_ = "unix:" + directory_ + "/drd.sock";
        grpc::ServerBuilder builder;
        builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
        builder.RegisterService(&pools);
        builder.RegisterService(&resources);
        builder.RegisterService(&system);
        builder.RegisterService(&tunnels);
        server_ = builder.BuildAndStart();
    }
    ~Fixture() {
        server_->Shutdown();
        std::filesystem::remove_all(directory_);
    }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    Result run(const std::vector<std::string>& arguments, const std::string& input = "") const {
        return run_at(address_, arguments, input);
    }

    FakePools pools;
    FakeResources resources;
    FakeSystem system;
    FakeTunnels tunnels;

  private:
    std::string directory_;
    std::string address_;
    std::unique_ptr<grpc::Server> server_;
};

std::string pool(const std::string& name) {
    return R"({"pool": {"name": ")" + name + "\"}}";
}

// One of the objects that `-o json` prints a line each.
std::vector<nlohmann::json> json_lines(const std::string& text) {
    std::vector<nlohmann::json> objects;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = text.find('\n', begin);
        objects.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
        begin = end + 1;
    }
    return objects;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "an object is shown for people and for scripts") {
    CHECK(run({"pool", "get", "tokyo-v4"}).out ==
          "Name:      tokyo-v4\n"
          "Prefix:    203.0.113.0/24\n"
          "Announce:  no\n"
          "Revision:  7\n");
    const auto json = run({"pool", "get", "tokyo-v4", "-o", "json"});
    CHECK(json.code == 0);
    CHECK(nlohmann::json::parse(json.out)["revision"] == 7);
    CHECK(run({"-o", "json", "pool", "get", "tokyo-v4"}).out == json.out);
}

TEST_CASE_METHOD(Fixture, "what the server refuses ends with 1 and its sentence") {
    const auto missing = run({"pool", "get", "list"});
    CHECK(missing.code == 1);
    CHECK(missing.err == "drcli: error: no pool is named list\n");
    CHECK(run({"pool", "get", "bad_name"}).err ==
          "drcli: error: 1 field is wrong\n  name: must be lower case\n");
    const auto aborted = run({"pool", "delete", "x", "--revision", "6"});
    CHECK(aborted.code == 1);
    CHECK(aborted.err ==
          "drcli: error: the stored revision is another one: read the object again\n");
    CHECK(run({"pool", "delete", "x", "--revision", "7"}).out == "pool/x deleted\n");
}

TEST_CASE_METHOD(Fixture, "a server without a service, or without a data plane, says so") {
    const auto unknown = run({"policy", "list"});
    CHECK(unknown.code == 1);
    CHECK(unknown.err == "drcli: error: the server does not know this request\n");
    const auto away = run({"stats", "drops"});
    CHECK(away.code == 1);
    CHECK(away.err == "drcli: error: the data plane is away\n");
}

TEST_CASE("no connection ends with 2 and the reason") {
    const auto result = run_at("unix:/nonexistent/drd.sock", {"pool", "list"});
    CHECK(result.code == 2);
    CHECK(result.err ==
          "drcli: error: cannot connect to unix:/nonexistent/drd.sock: "
          "No such file or directory (is drd running?)\n");
    CHECK(run_at("192.0.2.1:1", {"pool", "list"}).code == 2);
    CHECK(run_at("unix:/nonexistent", {"system", "wait", "--timeout", "0s"}).code == 2);
}

TEST_CASE("a wrong command line ends with 2 and says where to look") {
    const auto result = run_at("", {"pool", "lst"});
    CHECK(result.code == 2);
    CHECK(result.err ==
          "drcli: error: \"lst\" is no command; there are: list, get, apply, delete\n"
          "Try: drcli pool --help\n");
    CHECK(run_at("", {"tunnel", "apply"}).err.find("a part of its subscriber") !=
          std::string::npos);
    CHECK(run_at("", {"tunnel", "--help"}).out.find("a part of its subscriber") !=
          std::string::npos);
    CHECK(run_at("", {}).code == 2);
    CHECK(run_at("", {"apply"}).code == 2);
    CHECK(run_at("", {"pool", "list", "-o", "xml"}).code == 2);
    CHECK(run_at("", {"tunnel", "watch", "--interval", "50ms"}).code == 2);
    CHECK(run_at("", {"apply", "-f", "/nonexistent"}).code == 2);
    CHECK(run_at("", {"--help"}).code == 0);
    CHECK(run_at("", {"--version"}).out == "drcli " DR_VERSION "\n");
}

TEST_CASE("an error is in the product's words, in the order in which they were typed") {
    const auto error = [](const std::vector<std::string>& words) {
        const auto result = run_at("", words);
        CHECK(result.code == 2);
        return result.err.substr(0, result.err.find('\n'));
    };
    CHECK(error({"subscriber", "list", "--polcy", "x"}) ==
          "drcli: error: \"--polcy\" is no option of drcli subscriber list; is --policy meant?");
    CHECK(error({"pool", "get", "a", "b"}) == "drcli: error: \"b\" is one word too many");
    CHECK(error({"tunnel", "list", "--state", "FOO"}) ==
          "drcli: error: --state: \"FOO\" is none of ADMIN_DOWN, DOWN, INIT, PENDING, STATIC, UP");
    CHECK(error({"tunnel", "list", "--limit", "-1"}).find("must be 1 or more, not -1") !=
          std::string::npos);
}

TEST_CASE("help and version are commands too, and help shows what an object looks like") {
    CHECK(run_at("", {"version"}).out == "drcli " DR_VERSION "\n");
    CHECK(run_at("", {"help"}).out == run_at("", {"--help"}).out);
    CHECK(run_at("", {"help", "pool", "list"}).out == run_at("", {"pool", "list", "--help"}).out);
    CHECK(run_at("", {"-o", "json", "--server=unix:/x", "help", "pool", "list"}).out ==
          run_at("", {"pool", "list", "--help"}).out);
    CHECK(run_at("", {"help", "pol"}).code == 2);
    for (const char* kind : {"pool", "policy", "subscriber"})
        for (const auto& words : {std::vector<std::string>{kind, "--help"},
                                  {kind, "apply", "--help"},
                                  {"apply", "--help"},
                                  {"help", kind}}) {
            const auto text = run_at("", words).out;
            CHECK(text.find(fmt::format("  {{\"{}\": {{\"name\": ", kind)) != std::string::npos);
        }
}

TEST_CASE_METHOD(Fixture, "a value that no field takes is refused in the file's own terms") {
    const auto error = [&](const std::string& object) {
        return run({"apply", "-f", "-"}, object).err;
    };
    CHECK(error(R"({"subscriber": {"name": "s", "tunnels": [{"encapsulation": "gre"}]}})") ==
          "line 1: subscriber/s: subscriber.tunnels[0].encapsulation: \"gre\" is none of GRE, "
          "GRE_UDP, AUTO\n");
    CHECK(error(R"({"policy": {"name": "p", "waitToRestoreS": -5}})") ==
          "line 1: policy/p: policy.waitToRestoreS: -5 is no whole number of 0 or more\n");
    CHECK(error(R"({"pool": {"name": "p", "announce": "maybe"}})") ==
          "line 1: pool/p: pool.announce: \"maybe\" is neither true nor false\n");
}

TEST_CASE_METHOD(Fixture, "a file that is no JSON is told of once, and so is UTF-16") {
    std::string csv;
    for (int i = 0; i < 50'000; ++i) csv += fmt::format("site-{},203.0.113.0/29\n", i);
    const auto result = run({"apply", "-f", "-"}, csv);
    CHECK(result.code == 2);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find("none of its first 10 lines begins a JSON object") != std::string::npos);
    const auto wide = run({"apply", "-f", "-"}, std::string("\xff\xfe{\0", 4));
    CHECK(wide.code == 2);
    CHECK(wide.err == "drcli: error: standard input: is UTF-16; it must be UTF-8\n");
    CHECK(run({"apply", "-f", "-"}, "\xef\xbb\xbf" + pool("a")).code == 0);
    // A few lines of rubbish before an object are its neighbours, each told of.
    const auto few = run({"apply", "-f", "-"}, "one\ntwo\n" + pool("a"));
    CHECK(few.out == "3 objects: 1 created, 0 updated, 0 unchanged, 2 refused\n");
}

TEST_CASE_METHOD(Fixture,
                 "an object is applied as get prints it, and its revision is not looked at") {
    const auto shown = run({"pool", "get", "tokyo-v4", "-o", "json"}).out;
    CHECK(run({"apply", "-f", "-"}, shown).code == 0);
    CHECK(resources.last.pool().prefix() == "203.0.113.0/24");
    CHECK(resources.last.pool().revision() == 0);
    CHECK(run({"apply", "--check-revision", "-f", "-"}, "[" + shown + "]").code == 0);
    CHECK(resources.last.pool().revision() == 7);
}

TEST_CASE_METHOD(Fixture, "a warning stands beside the object, which is applied") {
    const auto result = run({"apply", "-f", "-"}, pool("odd"));
    CHECK(result.code == 0);
    CHECK(result.err == "line 1: pool/odd: warning: pool.prefix: hardly meant\n");
    CHECK(result.out == "1 object: 1 created, 0 updated, 0 unchanged, 0 refused\n");
}

TEST_CASE_METHOD(Fixture, "a list fetches the pages that it needs, and no more") {
    CHECK(nlohmann::json::parse(run({"pool", "list", "-o", "json", "--all"}).out).size() == 2500);
    CHECK(pools.list_calls == 3);
    const auto some = run({"pool", "list", "-o", "json", "--limit", "1200"});
    CHECK(nlohmann::json::parse(some.out).size() == 1200);
    CHECK(pools.list_calls == 5);
    CHECK(some.err.empty());
}

TEST_CASE_METHOD(Fixture,
                 "a list without a limit shows the first thousand, and says that it does") {
    const auto result = run({"pool", "list", "-o", "json"});
    CHECK(nlohmann::json::parse(result.out).size() == 1000);
    CHECK(pools.list_calls == 1);
    CHECK(result.err.find("only the first 1000 are shown") != std::string::npos);
    CHECK(run({"pool", "list", "--limit", "0"}).code == 2);
    CHECK(run({"pool", "list", "--limit", "5", "--all"}).code == 2);
}

TEST_CASE_METHOD(Fixture, "apply names each refused object by line, and applies the others") {
    const auto result =
        run({"apply", "-f", "-"}, pool("a") + "\n\n" + pool("bad") +
                                      "\n{\"pool\": {\"x\": 1}}\nnonsense\n" + pool("b") + "\n");
    CHECK(result.code == 1);
    CHECK(result.err ==
          "line 3: pool/bad: pool.prefix: host bits set\n"
          "line 4: pool/: pool.x: unknown field\n"
          "line 5: not a JSON object: it must begin with {\n");
    CHECK(result.out == "5 objects: 2 created, 0 updated, 0 unchanged, 3 refused\n");
}

TEST_CASE_METHOD(Fixture,
                 "apply of an array names elements, and prints JSON in the input's order") {
    const auto result = run(
        {"apply", "-f", "-", "-o", "json"},
        "[" + pool("a") + ", 5,\n  {\n  \"pool\":\n  {\"name\": \"bad\"}},\n" + pool("b") + "]");
    CHECK(result.code == 1);
    CHECK(result.err ==
          "element 2 (line 1): not a JSON object: it must begin with {\n"
          "element 3 (line 2): pool/bad: pool.prefix: host bits set\n");
    const auto objects = json_lines(result.out);
    REQUIRE(objects.size() == 4);
    CHECK(objects[0]["outcome"] == "CREATED");
    CHECK(objects[0]["resource"] == "pool/a");
    CHECK(objects[1]["outcome"] == "REFUSED");
    CHECK(objects[1]["element"] == 2);
    CHECK(objects[2]["line"] == 2);
    CHECK(objects[2]["violations"][0]["field"] == "pool.prefix");
    CHECK(objects[3]["revision"] == 3);
}

TEST_CASE_METHOD(Fixture, "apply sends many objects in messages of at most 1000") {
    std::string input;
    for (int i = 0; i < 2500; ++i) {
        input += pool(fmt::format("p{}", i)) + "\n";
    }
    const auto result = run({"apply", "-f", "-"}, input);
    CHECK(result.code == 0);
    CHECK(result.err.empty());
    CHECK(result.out == "2500 objects: 2500 created, 0 updated, 0 unchanged, 0 refused\n");
    CHECK(resources.largest_message == 1000);
}

TEST_CASE_METHOD(Fixture, "an atomic apply with a line that cannot be read applies nothing") {
    const auto result =
        run({"apply", "--atomic", "-f", "-", "-o", "json"}, pool("a") + "\nnonsense\n" + pool("b"));
    CHECK(result.code == 1);
    const auto objects = json_lines(result.out);
    REQUIRE(objects.size() == 3);
    for (const auto& object : objects) {
        CHECK(object["outcome"] == "REFUSED");
    }
    CHECK(objects[0]["resource"] == "pool/a");
    CHECK(objects[0]["violations"] == objects[2]["violations"]);
    CHECK(objects[0]["violations"][0]["field"] == "resource");
    CHECK(run({"apply", "--atomic", "-f", "-"}, pool("a")).code == 0);
}

TEST_CASE_METHOD(Fixture, "Ctrl-C after the last object is not told as nothing applied") {
    resources.interrupts = true;
    for (const bool atomic : {true, false}) {
        std::vector<std::string> arguments{"apply", "-f", "-"};
        if (atomic) {
            arguments.emplace_back("--atomic");
        }
        const auto result = run(arguments, pool("a") + "\n" + pool("b"));
        CHECK(result.code == 0);
        CHECK(result.err.empty());
        CHECK(result.out == "2 objects: 2 created, 0 updated, 0 unchanged, 0 refused\n");
    }
}

TEST_CASE_METHOD(Fixture, "apply of a group refuses objects of other kinds by line") {
    const auto result = run({"pool", "apply", "-f", "-"},
                            pool("a") + "\n{\"policy\": {\"name\": \"p\"}}\n" + pool("b"));
    CHECK(result.code == 1);
    CHECK(result.err ==
          "line 2: policy/p: policy: drcli pool apply takes pool objects only; drcli apply takes "
          "every kind\n");
    CHECK(result.out == "3 objects: 2 created, 0 updated, 0 unchanged, 1 refused\n");
}

TEST_CASE_METHOD(Fixture, "a directory is no file to apply") {
    const auto result = run({"apply", "-f", "/"}, "");
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(result.err == "drcli: error: /: cannot be read: Is a directory\n");
}

TEST_CASE_METHOD(Fixture, "an empty file applies nothing, successfully") {
    const auto result = run({"apply", "-f", "-"}, "\n");
    CHECK(result.code == 0);
    CHECK(result.out == "0 objects: 0 created, 0 updated, 0 unchanged, 0 refused\n");
}

TEST_CASE_METHOD(Fixture, "a watch ends with 0 after --count, and with 2 when the server ends it") {
    const std::string block =
        "COUNTER        VALUE  PER SECOND\ndrop.no_route     20          10\n";
    const auto counted = run({"stats", "watch", "--count", "1"});
    CHECK(counted.code == 0);
    CHECK(counted.out == block);
    const auto ended = run({"stats", "watch"});
    CHECK(ended.code == 2);
    CHECK(ended.out == block);
    CHECK(ended.err.find(" ended the watch\n") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a watch of tunnels says when there are more than it watches") {
    const auto result = run({"tunnel", "watch", "--count", "2"});
    CHECK(result.code == 0);
    CHECK(result.err.find("only the first 1000 are watched") != std::string::npos);
    CHECK(result.err.find("watched") == result.err.rfind("watched"));
    CHECK(run({"tunnel", "watch", "--count", "2", "--limit", "5"}).err.empty());
}

TEST_CASE_METHOD(Fixture, "a tunnel that is among those watched again is shown again") {
    const auto result = run({"tunnel", "watch", "--changes", "--limit", "2", "-o", "json"});
    std::vector<int> ids;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
        ids.push_back(nlohmann::json::parse(line)["tunnel"]["id"]);
    }
    CHECK(ids == std::vector<int>{1, 2, 2});
}

TEST_CASE_METHOD(Fixture, "10,000 tunnels can be watched at once") {
    const auto result =
        run({"tunnel", "watch", "--changes", "--count", "1", "--limit", "10000", "-o", "json"});
    CHECK(result.code == 0);
    CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 10'000);
    CHECK(tunnels.message_bytes < (16U << 20));  // what drd sends at most
}

TEST_CASE_METHOD(Fixture, "an enrollment that is refused leaves the files as they were") {
    const auto file = std::filesystem::temp_directory_path() / fmt::format("enroll-{}", getpid());
    CHECK(run({"subscriber", "enroll", "site-1", "--out", file.string()}).code != 0);
    CHECK_FALSE(std::filesystem::exists(file));
    std::ofstream(file) << "the present ones";
    CHECK(run({"subscriber", "enroll", "site-1", "--out", file.string()}).code != 0);
    CHECK(std::filesystem::file_size(file) == 16);
    std::filesystem::remove(file);
}

TEST_CASE_METHOD(Fixture, "waiting ends when all that is stored is installed, or at the timeout") {
    const auto done = run({"system", "wait"});
    CHECK(done.code == 0);
    CHECK(done.out.find("IN_SYNC") != std::string::npos);
    CHECK(done.out.find("CAPACITY") == std::string::npos);  // its tables are for `status`
    CHECK(system.calls == 3);
    system.behind_for = 1000000;
    const auto late = run({"system", "wait", "--timeout", "120ms"});
    CHECK(late.code == 1);
    CHECK(late.err ==
          "drcli: error: not in sync after 120 ms: data plane IN_SYNC, revision 5 stored, 4 "
          "installed\n");
}

TEST_CASE("the completion scripts know every command") {
    const auto bash = run_at("", {"completion", "bash"});
    CHECK(bash.code == 0);
    for (const char* line :
         {"\"drcli pool\") words=\"list get apply delete\"",
          "\"drcli subscriber ur-config\") words=\"\"", "\"drcli system drain\") words=\"on off\"",
          "objects=\"policy\" ;;", "--file|--out|--tls-ca|--tls-cert|--tls-key|-f) "}) {
        CAPTURE(line);
        CHECK(bash.out.find(line) != std::string::npos);
    }
    CHECK(run_at("", {"completion", "zsh"}).out.starts_with("#compdef drcli\n"));
    CHECK(run_at("", {"completion", "fish"}).code == 2);
}
