[000h 0000   4]                    Signature : "XSDT"    [Extended System Description Table]
[004h 0004   4]                 Table Length : 0000003C
[008h 0008   1]                     Revision : 01
[009h 0009   1]                     Checksum : 5E
[00Ah 0010   6]                       Oem ID : "STRATO"
[010h 0016   8]                 Oem Table ID : "STRATOVT"
[018h 0024   4]                 Oem Revision : 00000001
[01Ch 0028   4]              Asl Compiler ID : "STVT"
[020h 0032   4]        Asl Compiler Revision : 00000001

[024h 0036   8]       ACPI Table Address   0 : 00000000000D0B80
[02Ch 0044   8]       ACPI Table Address   1 : 00000000000D0CA0
[034h 0052   8]       ACPI Table Address   2 : 00000000000D0D00

Raw Table Data: Length 60 (0x3C)

    0000: 58 53 44 54 3C 00 00 00 01 5E 53 54 52 41 54 4F  // XSDT<....^STRATO
    0010: 53 54 52 41 54 4F 56 54 01 00 00 00 53 54 56 54  // STRATOVT....STVT
    0020: 01 00 00 00 80 0B 0D 00 00 00 00 00 A0 0C 0D 00  // ................
    0030: 00 00 00 00 00 0D 0D 00 00 00 00 00              // ............
