#if arch(x86_64)
internal import Glibc
internal import StratoHost

extension KVMEnvironment {
    /// Why the processor cannot run a guest's kernel mode itself, nil if it can.
    static func missingVirtualization() -> String? {
        // The flags stand in the first processor's lines; a processor has some 2 KiB of them.
        let length = 16 << 10
        guard let file = try? OwnedDescriptor(opening: "/proc/cpuinfo", flags: O_RDONLY) else { return nil }
        let text = unsafe [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            // SAFETY: at most the buffer's size is written.
            count = unsafe max(0, read(file.number, buffer.baseAddress, length))
        }
        for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: "flags".utf8) {
            let words = line.split(separator: UInt8(ascii: " "))
            let isThere = words.contains { $0.elementsEqual("vmx".utf8) || $0.elementsEqual("svm".utf8) }
            return isThere ? nil : "this processor shows neither VMX nor SVM, so that KVM cannot run a guest's kernel mode"
        }
        return nil
    }
}
#endif
