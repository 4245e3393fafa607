#if arch(arm64)
extension FuzzTarget {
    /// What only this architecture has.
    static let architectureTargets: [FuzzTarget] = []
}
#endif
