// swift-tools-version: 6.2

// Every parser of outside data under libFuzzer and AddressSanitizer: a package of its own, as all modules are compiled anew for
// it. They are linked in from `Sources` by name, so that their `package` and internal interfaces can be reached.

import PackageDescription

let commonSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
    .strictMemorySafety(),
]

/// `-enable-testing` lets internal parsers be reached in release mode.
let swiftSettings = commonSettings + [.unsafeFlags(["-sanitize=fuzzer,address", "-enable-testing"])]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

let package = Package(
    name: "swift-stratovirt-fuzz",
    targets: [
        .target(name: "CStratoLinux"),
        module("StratoHost", ["CStratoLinux"]),
        module("StratoFirmwareTables", []),
        module("StratoMemory", ["CStratoLinux", "StratoHost"]),
        module("StratoKVM", ["CStratoLinux", "StratoHost", "StratoMemory"]),
        module("StratoDisk", ["CStratoLinux", "StratoHost", "StratoMemory"]),
        module("StratoBoot", ["StratoHost", "StratoMemory", "StratoFirmwareTables"]),
        module("StratoPlatform", ["StratoHost", "StratoMemory"]),
        module("StratoPCI", ["StratoHost", "StratoMemory"]),
        module("StratoVirtio", ["StratoHost", "StratoMemory", "StratoPCI", "StratoDisk"]),
        module(
            "StratoMachine",
            [
                "StratoHost", "StratoFirmwareTables", "StratoMemory", "StratoKVM", "StratoDisk", "StratoBoot",
                "StratoPlatform", "StratoPCI", "StratoVirtio",
            ]),
        module(
            "StratoVMM",
            [
                "StratoHost", "StratoFirmwareTables", "StratoMemory", "StratoKVM", "StratoDisk", "StratoBoot", "StratoPCI",
                "StratoVirtio", "StratoMachine",
            ]),
        module("StratoQMP", ["StratoHost", "StratoVMM"]),
        .target(
            name: "StratoVirtCommand", dependencies: ["StratoHost", "StratoVMM"], exclude: ["Main.swift", "Process"],
            swiftSettings: swiftSettings),
        module("Watched", ["StratoMemory", "StratoVirtio"]),
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "FuzzTargets",
            dependencies: [
                "CFuzzer", "CStratoLinux", "StratoHost", "StratoMemory", "StratoDisk", "StratoBoot", "StratoPlatform",
                "StratoPCI", "StratoVirtio", "StratoVMM", "StratoQMP", "StratoVirtCommand", "Watched",
            ],
            // Not watched itself: only what it covers of the parsers shall guide the search.
            swiftSettings: commonSettings + [.unsafeFlags(["-sanitize=address"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]
        ),
    ]
)
