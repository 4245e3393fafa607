// swift-tools-version: 6.2

// What can only be measured from inside: the package's own modules, linked in from `Sources` by name, so that their `package`
// interface can be reached across the same module boundaries as in the product. CI does not build it.

import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
    .strictMemorySafety(),
]

let package = Package(
    name: "swift-stratovirt-benchmarks",
    targets: [
        .target(name: "CStratoLinux"),
        .target(name: "StratoHost", dependencies: ["CStratoLinux"], swiftSettings: swiftSettings),
        .target(name: "StratoMemory", dependencies: ["CStratoLinux", "StratoHost"], swiftSettings: swiftSettings),
        .target(
            name: "StratoDisk", dependencies: ["CStratoLinux", "StratoHost", "StratoMemory"], swiftSettings: swiftSettings),
        .target(name: "StratoPCI", dependencies: ["StratoHost", "StratoMemory"], swiftSettings: swiftSettings),
        .target(
            name: "StratoVirtio", dependencies: ["StratoHost", "StratoMemory", "StratoPCI", "StratoDisk"],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "QueueProbe", dependencies: ["StratoHost", "StratoMemory", "StratoDisk", "StratoVirtio"],
            swiftSettings: swiftSettings),
    ]
)
