/// What a virtual CPU can do that is not there by itself, on architectures where that can be chosen.
package struct ProcessorFeatures: Sendable, Equatable {
    /// The performance monitors.
    package var hasPMU = false

    /// The scalable vector extension.
    package var hasSVE = false

    package init() {}
}
