#if arch(x86_64)
extension FirmwareKernelImage {
    /// They are for another processor.
    static let firmwareStartsARM64Images = false
}
#endif
