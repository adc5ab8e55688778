// Starts DPDK's EAL and passes on its log.
#include "dataplane/ports/eal.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/join.h"
#include "dataplane/ports/assignment.h"

namespace dr {

namespace {

constexpr std::size_t kKeptLines = 40;

StartLog* current_log = nullptr;  // of the callbacks, which carry no argument

ssize_t write_log(void* log, const char* bytes, std::size_t length) {
    static_cast<StartLog*>(log)->add(bytes, length);
    return static_cast<ssize_t>(length);
}

int write_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
    if (level == LIBBPF_DEBUG || current_log == nullptr) return 0;
    std::array<char, 512> line{};
    const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
    if (length > 0) current_log->add(line.data(), std::strlen(line.data()));
    return length;
}

std::vector<unsigned> usable_cpus() {
    cpu_set_t set;
    std::vector<unsigned> cpus;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    return cpus;
}

// MiB in unused huge pages.
std::uint64_t free_huge_mib() {
    std::uint64_t mib = 0;
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ignored)) {
        unsigned long kib = 0;
        std::uint64_t pages = 0;
        const std::string name = entry.path().filename();
        std::ifstream file(entry.path() / "free_hugepages");
        if (std::sscanf(name.c_str(), "hugepages-%lukB", &kib) == 1 && file >> pages)
            mib += pages * kib / 1024;
    }
    return mib;
}

std::vector<std::string> eal_arguments(const Config& config, bool huge) {
    std::vector<std::string> arguments{"dr-dataplane",
                                       "--no-telemetry",
                                       "--file-prefix",
                                       fmt::format("dr-{}", getpid()),
                                       "-m",
                                       std::to_string(config.memory_mib),
                                       "--main-lcore",
                                       "0",
                                       "--lcores",
                                       lcores_argument(config, usable_cpus())};
    bool pci = false;
    for (const PortConfig& port : config.ports) {
        if (port.kind != PortKind::Pci) continue;
        pci = true;
        arguments.insert(arguments.end(), {"-a", port.device});
    }
    // Without devices that need physical addresses, virtual ones keep each pool in one piece, which
    // AF_XDP's packet memory has to be.
    if (!pci) arguments.insert(arguments.end(), {"--no-pci", "--iova-mode=va"});
    // EAL knows in-memory operation with huge pages only; small pages are in memory anyway.
    if (huge)
        arguments.emplace_back("--in-memory");
    else
        arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
    return arguments;
}

}  // namespace

StartLog::StartLog() {
    current_log = this;
    libbpf_set_print(write_libbpf);
    const cookie_io_functions_t functions{nullptr, write_log, nullptr, nullptr};
    FILE* stream = fopencookie(this, "w", functions);
    if (stream == nullptr) return;
    setvbuf(stream, nullptr, _IOLBF, 0);
    rte_openlog_stream(stream);
}

StartLog::~StartLog() {
    FILE* stream = rte_log_get_stream();
    rte_openlog_stream(stderr);
    rte_log_set_global_level(RTE_LOG_ERR);
    if (stream != nullptr && stream != stderr) std::fclose(stream);
    current_log = nullptr;
}

void StartLog::clear() {
    std::fflush(rte_log_get_stream());
    partial_.clear();
    lines_.clear();
}

void StartLog::add(const char* bytes, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) {
        if (bytes[i] != '\n') {
            partial_ += bytes[i];
            continue;
        }
        if (!partial_.empty()) lines_.push_back(std::move(partial_));
        partial_.clear();
        if (lines_.size() > kKeptLines) lines_.pop_front();
    }
}

std::string StartLog::text() const {
    std::fflush(rte_log_get_stream());
    std::string text;
    for (const std::string& line : lines_) text += "\n    " + line;
    if (!partial_.empty()) text += "\n    " + partial_;
    return text;
}

std::vector<unsigned> lcore_cpus(const Config& config, const std::vector<unsigned>& cpus) {
    if (!config.lcores.empty()) return config.lcores;
    std::vector<unsigned> chosen{cpus.front()};
    for (unsigned worker = 0; worker < config.workers; ++worker)
        chosen.push_back(cpus.size() > 1 ? cpus[1 + worker % (cpus.size() - 1)] : cpus.front());
    return chosen;
}

std::string lcores_argument(const Config& config, const std::vector<unsigned>& cpus) {
    std::string argument;
    unsigned lcore = 0;
    for (const unsigned cpu : lcore_cpus(config, cpus)) {
        argument += fmt::format("{}{}@{}", lcore == 0 ? "" : ",", lcore, cpu);
        ++lcore;
    }
    // Liveness threads share the writer's CPU: both sleep when there is nothing to do.
    const unsigned shared = lcore_cpus(config, cpus).front();
    for (unsigned thread = 0; thread < config.liveness.threads; ++thread)
        argument += fmt::format(",{}@{}", lcore++, shared);
    return argument;
}

bool Eal::start(const Config& config, bool no_huge, std::string* notice, std::string* error) {
    const std::vector<unsigned> cpus = usable_cpus();
    for (const unsigned cpu : config.lcores) {
        if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) continue;
        *error = fmt::format("lcores: CPU {} is not among those this process may use: {}", cpu,
                             join(cpus));
        return false;
    }
    const std::uint64_t free_mib = free_huge_mib();
    const bool huge = !no_huge && free_mib >= config.memory_mib;
    if (!huge && !no_huge)
        *notice = fmt::format(
            "{} MiB of huge pages are free, {} are needed: going on with small "
            "pages, which forward more slowly (echo {} > "
            "/proc/sys/vm/nr_hugepages)",
            free_mib, config.memory_mib, (config.memory_mib + 1) / 2 + 8);
    std::vector<std::string> arguments = eal_arguments(config, huge);
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (rte_eal_init(static_cast<int>(arguments.size()), argv.data()) < 0) {
        *error = fmt::format("DPDK does not start: {}; its arguments were: {}",
                             rte_strerror(rte_errno), join(arguments));
        return false;
    }
    started_ = true;
    const std::vector<unsigned> chosen = lcore_cpus(config, cpus);
    for (unsigned worker = 0; worker < config.workers; ++worker)
        worker_nodes_.push_back(node_of_cpu(chosen[worker + 1]));
    // The folder is empty, because everything is in memory, and would stay after a kill.
    std::error_code ignored;
    std::filesystem::remove(rte_eal_get_runtime_dir(), ignored);
    return true;
}

Eal::~Eal() {
    if (started_) rte_eal_cleanup();
}

}  // namespace dr
