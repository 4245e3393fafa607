#if arch(x86_64)
extension FuzzTarget {
    /// What only this architecture has.
    static let architectureTargets: [FuzzTarget] = [.linuxBoot]
}
#endif
