// swift-tools-version: 6.2

import PackageDescription

let commonSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Spans over guest memory and mappings need lifetime annotations.
    .enableExperimentalFeature("Lifetimes"),
]

let swiftSettings = commonSettings + [.strictMemorySafety()]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

func tests(_ module: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(
        name: "\(module)Tests",
        dependencies: [.target(name: module)] + dependencies,
        resources: resources,
        swiftSettings: commonSettings
    )
}

/// A static, position-independent executable is what keeps the resident memory of the process within its budget. It goes
/// with `--disable-local-rpath`: the C library's start code for such executables refuses a run path. `make build` gives both.
let staticExecutable: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-static-executable", "-use-ld=lld",
            "-Xclang-linker", "-static-pie",
            "-Xlinker", "--gc-sections",
            "-Xlinker", "--pack-dyn-relocs=relr",
        ],
        .when(configuration: .release, traits: ["StaticExecutable"])
    )
]

let package = Package(
    name: "swift-stratovirt",
    products: [
        .library(name: "StratoVirt", targets: ["StratoVirt"]),
        .executable(name: "stratovirt", targets: ["StratoVirtCommand"]),
    ],
    traits: [
        .trait(name: "StaticExecutable", description: "Link the release executable statically, position-independent.")
    ],
    // Lowest floor first: a module depends only on modules named before it.
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
                "CStratoLinux", "StratoHost", "StratoFirmwareTables", "StratoMemory", "StratoKVM", "StratoDisk", "StratoBoot",
                "StratoPlatform", "StratoPCI", "StratoVirtio",
            ]),
        module(
            "StratoVMM",
            [
                "StratoHost", "StratoFirmwareTables", "StratoMemory", "StratoKVM", "StratoDisk", "StratoBoot", "StratoPCI",
                "StratoVirtio", "StratoMachine",
            ]),
        module("StratoQMP", ["StratoHost", "StratoVMM"]),
        module("StratoVirt", ["StratoHost", "StratoVMM"]),
        .executableTarget(
            name: "StratoVirtCommand",
            dependencies: ["CStratoLinux", "StratoHost", "StratoVMM", "StratoQMP"],
            swiftSettings: swiftSettings,
            linkerSettings: staticExecutable
        ),

        tests("StratoHost", []),
        tests("StratoFirmwareTables", []),
        tests("StratoMemory", ["StratoHost"]),
        tests("StratoKVM", ["StratoHost", "StratoMemory"]),
        tests("StratoDisk", ["StratoHost", "StratoMemory"]),
        tests("StratoBoot", ["StratoHost", "StratoMemory", "StratoFirmwareTables"]),
        tests("StratoPlatform", ["StratoHost", "StratoMemory"]),
        tests("StratoPCI", ["StratoHost", "StratoMemory"]),
        tests("StratoVirtio", ["StratoHost", "StratoMemory", "StratoPCI", "StratoDisk"]),
        tests(
            "StratoMachine",
            ["StratoHost", "StratoMemory", "StratoKVM", "StratoDisk", "StratoPlatform", "StratoPCI", "StratoVirtio"]),
        tests("StratoVMM", ["StratoHost", "StratoMemory", "StratoMachine"]),
        tests("StratoQMP", ["StratoHost", "StratoVMM"], resources: [.copy("Resources")]),
        tests("StratoVirt", ["StratoVMM"]),
        tests("StratoVirtCommand", ["StratoHost", "StratoVMM", "StratoQMP"]),
        .testTarget(
            name: "StratoGuestTests",
            dependencies: ["StratoHost", "StratoKVM"],
            swiftSettings: commonSettings
        ),
    ]
)
