// SPDX-License-Identifier: Apache-2.0
// Whatever the bytes say, every tensor lies inside of them and has the size of its shape.
#include "ledger/base/check.hpp"
#include "worker/model/safetensors.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto index = worker::model::parse_safetensors({data, size});
    if (!index) return 0;
    std::size_t bytes = 0;
    for (const worker::model::TensorView& tensor : index->tensors) {
        std::size_t wanted = worker::model::size_of(tensor.dtype);
        for (const std::int64_t extent : tensor.shape)
            wanted *= static_cast<std::size_t>(extent);
        MR_CHECK(tensor.data.size() == wanted);
        MR_CHECK(tensor.data.data() >= data);
        MR_CHECK(tensor.data.data() + tensor.data.size() <= data + size);
        bytes += wanted;
        MR_CHECK(index->find(tensor.name) == &tensor);
    }
    MR_CHECK(bytes < size);
    return 0;
}
