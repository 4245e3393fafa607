#if arch(arm64)
extension FirmwareKernelImage {
    /// An arm64 Image with an EFI stub is an EFI executable for this machine's processor.
    static let firmwareStartsARM64Images = true
}
#endif
