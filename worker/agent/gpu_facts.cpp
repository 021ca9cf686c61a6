// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/gpu_facts.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace worker::agent {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

// The part of NVML's C interface that is used, as its documentation gives it.
using Device = struct OpaqueDevice*;
struct Memory {
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
};
constexpr int kSuccess = 0;
constexpr int kTemperatureOfGpu = 0;
constexpr int kUncorrected = 1;
constexpr int kSinceDriverLoad = 0;
constexpr unsigned kGpusMax = 64;

/// The library's functions; all or none.
struct Library {
    std::unique_ptr<void, int (*)(void*)> handle{nullptr, &::dlclose};
    int (*init)() = nullptr;
    int (*shutdown)() = nullptr;
    int (*driver)(char*, unsigned) = nullptr;
    int (*count)(unsigned*) = nullptr;
    int (*device)(unsigned, Device*) = nullptr;
    int (*uuid)(Device, char*, unsigned) = nullptr;
    int (*name)(Device, char*, unsigned) = nullptr;
    int (*memory)(Device, Memory*) = nullptr;
    int (*pcie_generation)(Device, unsigned*) = nullptr;
    int (*pcie_lanes)(Device, unsigned*) = nullptr;
    int (*ecc_errors)(Device, int, int, unsigned long long*) = nullptr;
    int (*temperature)(Device, int, unsigned*) = nullptr;
    int (*power)(Device, unsigned*) = nullptr;
};

template <typename Function>
bool find(void* handle, const char* symbol, Function& out) {
    out = reinterpret_cast<Function>(::dlsym(handle, symbol));
    return out != nullptr;
}

Result<Library> load(const char* file) {
    Library out;
    out.handle.reset(::dlopen(file, RTLD_NOW | RTLD_LOCAL));
    if (!out.handle) return fail(ErrorCode::unsupported, "there is no NVIDIA driver");
    void* const handle = out.handle.get();
    const bool whole = find(handle, "nvmlInit_v2", out.init) &&
                       find(handle, "nvmlShutdown", out.shutdown) &&
                       find(handle, "nvmlSystemGetDriverVersion", out.driver) &&
                       find(handle, "nvmlDeviceGetCount_v2", out.count) &&
                       find(handle, "nvmlDeviceGetHandleByIndex_v2", out.device) &&
                       find(handle, "nvmlDeviceGetUUID", out.uuid) &&
                       find(handle, "nvmlDeviceGetName", out.name) &&
                       find(handle, "nvmlDeviceGetMemoryInfo", out.memory) &&
                       find(handle, "nvmlDeviceGetCurrPcieLinkGeneration", out.pcie_generation) &&
                       find(handle, "nvmlDeviceGetCurrPcieLinkWidth", out.pcie_lanes) &&
                       find(handle, "nvmlDeviceGetTotalEccErrors", out.ecc_errors) &&
                       find(handle, "nvmlDeviceGetTemperature", out.temperature) &&
                       find(handle, "nvmlDeviceGetPowerUsage", out.power);
    if (!whole) return fail(ErrorCode::unavailable, "the NVIDIA driver is too old");
    return out;
}

/// A text the library writes; printable ASCII, cut at `buffer`.
template <typename Ask>
Result<std::string> text(const char* what, Ask ask) {
    std::array<char, 128> buffer{};
    if (ask(buffer.data(), static_cast<unsigned>(buffer.size() - 1)) != kSuccess)
        return fail(ErrorCode::unavailable, fmt::format("the NVIDIA driver tells no {}", what));
    std::string out(buffer.data());
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
}

template <typename Number, typename Ask>
std::optional<Number> number(Ask ask) {
    Number out = 0;
    if (ask(&out) != kSuccess) return std::nullopt;
    return out;
}

Result<GpuFacts> read_gpu(const Library& nvml, unsigned index) {
    Device device = nullptr;
    if (nvml.device(index, &device) != kSuccess)
        return fail(ErrorCode::unavailable, fmt::format("GPU {} does not answer", index));
    GpuFacts out;
    TRY_ASSIGN(out.uuid,
               text("UUID", [&](char* to, unsigned size) { return nvml.uuid(device, to, size); }));
    TRY_ASSIGN(out.name,
               text("name", [&](char* to, unsigned size) { return nvml.name(device, to, size); }));
    Memory memory{};
    if (nvml.memory(device, &memory) != kSuccess)
        return fail(ErrorCode::unavailable, fmt::format("GPU {} tells no memory", index));
    out.memory_mib = memory.total >> 20U;
    out.free_mib = memory.free >> 20U;
    out.pcie_generation =
        number<unsigned>([&](unsigned* to) { return nvml.pcie_generation(device, to); });
    out.pcie_lanes = number<unsigned>([&](unsigned* to) { return nvml.pcie_lanes(device, to); });
    out.ecc_errors = number<unsigned long long>([&](unsigned long long* to) {
        return nvml.ecc_errors(device, kUncorrected, kSinceDriverLoad, to);
    });
    out.temperature_c = number<unsigned>(
        [&](unsigned* to) { return nvml.temperature(device, kTemperatureOfGpu, to); });
    out.power_mw = number<unsigned>([&](unsigned* to) { return nvml.power(device, to); });
    return out;
}

Result<GpuReport> read_all(const Library& nvml) {
    GpuReport out;
    TRY_ASSIGN(out.driver, text("version", nvml.driver));
    unsigned count = 0;
    if (nvml.count(&count) != kSuccess)
        return fail(ErrorCode::unavailable, "the NVIDIA driver does not count its GPUs");
    for (unsigned i = 0; i < std::min(count, kGpusMax); ++i) {
        TRY_ASSIGN(GpuFacts gpu, read_gpu(nvml, i));
        out.gpus.push_back(std::move(gpu));
    }
    return out;
}

}  // namespace

Result<GpuReport> read_gpus(const char* library) {
    TRY_ASSIGN(const Library nvml, load(library));
    if (const int code = nvml.init(); code != kSuccess)
        return fail(ErrorCode::unavailable,
                    fmt::format("the NVIDIA driver does not start (NVML error {})", code));
    auto out = read_all(nvml);
    static_cast<void>(nvml.shutdown());
    return out;
}

std::vector<GpuFault> find_gpu_faults(const GpuReport& report, std::uint32_t count,
                                      std::uint64_t vram_mib) {
    constexpr std::uint32_t kTooHotC = 90;
    std::vector<GpuFault> out;
    if (report.gpus.size() < count)
        out.push_back({fmt::format("{} GPUs offered, {} there", count, report.gpus.size()),
                       "set gpu_count in worker.toml to what the machine has"});
    for (std::size_t i = 0; i < report.gpus.size() && i < count; ++i) {
        const GpuFacts& gpu = report.gpus[i];
        if (vram_mib > gpu.memory_mib)
            out.push_back(
                {fmt::format("GPU {} has {} MiB, {} offered", i, gpu.memory_mib, vram_mib),
                 fmt::format("set vram_mib in worker.toml to {}", gpu.memory_mib)});
        if (gpu.ecc_errors.value_or(0) > 0)
            out.push_back(
                {fmt::format("GPU {} had {} uncorrected memory errors", i, *gpu.ecc_errors),
                 "reboot; replace the card when they come back"});
        if (gpu.temperature_c.value_or(0) >= kTooHotC)
            out.push_back({fmt::format("GPU {} is at {} °C", i, *gpu.temperature_c),
                           "clean its fans, or lower its power limit (nvidia-smi --power-limit)"});
    }
    return out;
}

}  // namespace worker::agent
