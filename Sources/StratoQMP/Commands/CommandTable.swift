extension QMPCommand {
    /// Every command there is.
    package static let all: [QMPCommand] = [
        QMPCommand("qmp_capabilities", .optional("enable", .array), need: .monitor, Negotiation.enableCapabilities),
        QMPCommand("quit", need: .nothingBefore, LifeCycle.quit),

        QMPCommand("query-version", need: .monitor, Introspection.queryVersion),
        QMPCommand("query-commands", need: .monitor, Introspection.queryCommands),
        QMPCommand("query-events", need: .monitor, Introspection.queryEvents),
        QMPCommand("query-target", need: .monitor, Introspection.queryTarget),
        QMPCommand("query-kvm", need: .monitor, Introspection.queryKVM),
        QMPCommand("query-machines", need: .monitor, Introspection.queryMachines),
        QMPCommand("query-name", need: .monitor, Identity.queryName),
        QMPCommand("query-uuid", need: .monitor, Identity.queryUUID),

        QMPCommand("qom-list", .required("path", .string), need: .monitor, ObjectModel.list),
        QMPCommand(
            "qom-list-types", .optional("implements", .string), .optional("abstract", .boolean), need: .monitor,
            ObjectModel.listTypes),
        QMPCommand("device-list-properties", .required("typename", .string), need: .monitor, ObjectModel.listProperties),
        QMPCommand(
            "query-command-line-options", .optional("option", .string), need: .monitor, ObjectModel.commandLineOptions),
        QMPCommand("query-block-jobs", need: .monitor, ObjectModel.nothing),
        QMPCommand("query-tpm-models", need: .monitor, ObjectModel.nothing),
        QMPCommand("query-tpm-types", need: .monitor, ObjectModel.nothing),
        QMPCommand("query-migrate-capabilities", need: .monitor, ObjectModel.nothing),

        QMPCommand("query-status", need: .machine, LifeCycle.queryStatus),
        QMPCommand("stop", need: .machine, LifeCycle.stop),
        QMPCommand("cont", need: .machine, LifeCycle.cont),
        QMPCommand("system_reset", need: .machine, LifeCycle.systemReset),
        QMPCommand("system_powerdown", need: .machine, LifeCycle.systemPowerDown),

        QMPCommand("query-cpus", need: .machine, Processors.queryCPUs),
        QMPCommand("query-cpus-fast", need: .machine, Processors.queryCPUsFast),
        QMPCommand("query-pci", need: .machine, PCIDevices.queryPCI),
        QMPCommand("query-block", need: .machine, BlockDevices.queryBlock),
        QMPCommand("query-chardev", need: .machine, CharacterDevices.queryCharacterDevices),
        QMPCommand("query-iothreads", need: .machine, IOThreads.queryIOThreads),

        QMPCommand(
            "human-monitor-command", .required("command-line", .string), .optional("cpu-index", .integer),
            need: .machine, HumanMonitor.run),
    ]
}
