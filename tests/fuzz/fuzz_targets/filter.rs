#![no_main]
use wireboot::capture::language;
use wireboot::sys::filter::FilterProgram;

// A filter or a program, a line break, and a frame.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let at = data
        .iter()
        .rposition(|octet| *octet == b'\n')
        .unwrap_or(data.len());
    let (text, frame) = data.split_at(at);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(expression) = language::parse(text) {
        for program in [
            expression.compile_for_files(),
            expression.compile_for_kernel(),
        ]
        .into_iter()
        .flatten()
        {
            let _ = (program.run(frame), program.to_string());
        }
    }
    if let Ok(program) = FilterProgram::parse(text) {
        let _ = (program.run(frame), program.to_string());
    }
});
